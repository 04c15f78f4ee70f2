import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from daemon.jobs import runs
from daemon.jobs.hang import HangLimits
from daemon.jobs.queue import JobQueue
from daemon.jobs.slot import Hooks, Policy, Slot
from daemon.protocol.codec import decode_event
from daemon.protocol.errors import NegError
from daemon.protocol.events import (
    CheckpointSaved,
    EphemeralEvent,
    JobRow,
    JobStateChanged,
    ResidentPart,
    Residents,
    StepProgress,
    WorkerChanged,
)
from daemon.protocol.link import DropModels, HoldModel, OrderUnit, WorkerTold
from daemon.protocol.orders import Checkpoint
from daemon.protocol.specs import ModelSpec
from daemon.store import db
from tests.fake_executor import FakeExecutor
from tests.job_specs import open_queue, submission, until

FAST = Policy(restart_seconds=(0.0, 0.01), poll_seconds=0.02)


class Bench:
    """A slot with what it told."""

    def __init__(self, queue: JobQueue, executor: FakeExecutor, policy: Policy) -> None:
        self.queue, self.executor = queue, executor
        self.passed_on: list[EphemeralEvent] = []
        self.ended: list[JobRow] = []
        self.slot = Slot("gpu", queue, executor, policy, Hooks(lambda: None, self.passed_on.append, self.ended.append))

    async def start_job(self) -> JobRow:
        await self.queue.submit(submission())
        row = await self.queue.store.write(runs.start_next)
        assert row is not None
        await self.slot.give(row)
        return row

    async def events(self) -> list[object]:
        return [decode_event(event.body) for event in await self.queue.log.read(0)]


@asynccontextmanager
async def bench(folder: Path, policy: Policy = FAST, executor: FakeExecutor | None = None) -> AsyncIterator[Bench]:
    async with open_queue(folder) as queue:
        made = Bench(queue, executor or FakeExecutor("gpu"), policy)
        task = asyncio.create_task(made.slot.run())
        try:
            await until(lambda: _done(made.slot.state == "ready"))
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _done(value: bool) -> bool:
    return value


def on_bench(folder: Path, trip: Callable[[Bench], Awaitable[None]], **settings: object) -> None:
    async def run() -> None:
        async with bench(folder, **settings) as made:  # type: ignore[arg-type]
            await trip(made)

    asyncio.run(run())


def test_events_are_stored_before_the_end_and_progress_is_not(tmp_path: Path) -> None:
    async def trip(bench: Bench) -> None:
        row = await bench.start_job()
        worker = bench.executor.worker
        assert worker.units[0].session_path == str(tmp_path / "sessions" / "fake")
        progress = StepProgress(job_id=row.id, phase="train", step=1, num_steps=9)
        worker.tell(progress)
        for step in range(200):
            worker.tell(CheckpointSaved(job_id=row.id, step=step, path=str(step)))
        worker.finish(timings={"train": 1.0})
        await bench.slot.idle.wait()
        events = await bench.events()
        kinds = [type(event) for event in events]
        last_checkpoint = len(kinds) - 1 - kinds[::-1].index(CheckpointSaved)
        ends = [number for number, event in enumerate(events) if isinstance(event, JobStateChanged) and event.job.state == "done"]
        assert kinds.count(CheckpointSaved) == 200
        assert len(ends) == 1
        assert ends[0] > last_checkpoint
        assert bench.passed_on == [progress]
        assert [ended.state for ended in bench.ended] == ["done"]

    on_bench(tmp_path, trip)


def test_a_dead_worker_is_replaced_and_its_job_requeued(tmp_path: Path) -> None:
    async def trip(bench: Bench) -> None:
        row = await bench.start_job()
        bench.executor.worker.tell(CheckpointSaved(job_id=row.id, step=1, path="1"))
        bench.executor.worker.die()
        await bench.slot.idle.wait()
        lost = await bench.queue.job(row.id)
        assert (lost.state, lost.fence) == ("queued", 1)
        assert "SIGKILL" in lost.reason
        await until(lambda: _done(bench.slot.is_ready))
        assert len(bench.executor.workers) == 2
        events = await bench.events()
        assert CheckpointSaved(job_id=row.id, step=1, path="1") in events, "what it told before it died counts"
        assert [event.state for event in events if isinstance(event, WorkerChanged)][-3:] == ["lost", "starting", "ready"]

    on_bench(tmp_path, trip)


def test_a_worker_that_got_something_done_is_replaced_without_a_longer_wait(tmp_path: Path) -> None:
    """Were the waits doubled all the same, the last would be hours."""

    async def trip(bench: Bench) -> None:
        row = await bench.start_job()
        for step in range(25):
            bench.executor.worker.tell(CheckpointSaved(job_id=row.id, step=step, path=str(step)))
            bench.executor.worker.die()
            await bench.slot.idle.wait()
            await until(lambda: _done(bench.slot.is_ready))
            again = await bench.queue.store.write(runs.start_next)
            assert again is not None
            await bench.slot.give(again)
        assert len(bench.executor.workers) == 26

    on_bench(tmp_path, trip, policy=Policy(restart_seconds=(0.001, 36000.0), poll_seconds=0.02))


def test_the_longest_wait_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Policy().restart_seconds == (1.0, 60.0)
    monkeypatch.setenv("NEGTUI_LONGEST_RESTART_SECONDS", "2.5")
    assert Policy().restart_seconds == (1.0, 2.5)


def test_a_process_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    executor = FakeExecutor("gpu")
    executor.failures = 3

    async def trip(bench: Bench) -> None:
        messages = [event.message for event in await bench.events() if isinstance(event, WorkerChanged) and event.state == "lost"]
        assert messages == ["no processes left"] * 3

    on_bench(tmp_path, trip, executor=executor)


def test_each_way_of_stopping_is_asked_once(tmp_path: Path) -> None:
    async def trip(bench: Bench) -> None:
        await bench.start_job()
        for wanted in ("run", "pause", "pause", "cancel", "cancel"):
            bench.slot.interrupt(wanted)  # type: ignore[arg-type]
        assert bench.executor.worker.interrupts == ["pause", "cancel"]

    on_bench(tmp_path, trip)


def test_words_about_another_start_are_ignored(tmp_path: Path) -> None:
    async def trip(bench: Bench) -> None:
        row = await bench.start_job()
        worker = bench.executor.worker
        worker.finish("paused")
        await bench.slot.idle.wait()
        worker.tell(CheckpointSaved(job_id=row.id, step=1, path="late"))
        worker.finish("done")
        again = await bench.queue.store.write(runs.start_next)
        assert again is not None
        await bench.slot.give(again)
        worker.finish("done")
        await bench.slot.idle.wait()
        assert CheckpointSaved(job_id=row.id, step=1, path="late") not in await bench.events()
        assert [ended.state for ended in bench.ended] == ["queued", "done"]

    on_bench(tmp_path, trip)


def test_a_job_given_to_a_lost_worker_goes_back(tmp_path: Path) -> None:
    async def trip(bench: Bench) -> None:
        bench.slot.begin_closing()
        row = await bench.start_job()
        assert (await bench.queue.job(row.id)).state == "queued"
        assert bench.slot.unit is None
        assert bench.executor.worker.units == []

    on_bench(tmp_path, trip)


def test_a_hung_worker_is_ended_with_its_stacks(tmp_path: Path) -> None:
    async def trip(bench: Bench) -> None:
        row = await bench.start_job()
        worker = bench.executor.worker
        now = asyncio.get_running_loop().time()
        bench.slot.end_if_hung(now + 20)
        assert not worker.ended_with_dump
        bench.slot.end_if_hung(now + 31)
        await bench.slot.idle.wait()
        assert worker.ended_with_dump
        assert (await bench.queue.job(row.id)).state == "queued"

    on_bench(tmp_path, trip, policy=Policy(restart_seconds=(0.0, 0.01), hang=HangLimits(silence_seconds=30.0)))


def test_events_that_cannot_be_stored_block_the_job_even_if_it_says_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    transact, full, refused = db._transact, True, 0

    def sometimes_full(connection: object, operations: list[db._Operation]) -> None:
        nonlocal refused
        if full:
            refused += 1
            import sqlite3

            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        transact(connection, operations)  # type: ignore[arg-type]

    async def trip(bench: Bench) -> None:
        nonlocal full
        row = await bench.start_job()
        monkeypatch.setattr(db, "_transact", sometimes_full)
        bench.executor.worker.tell(CheckpointSaved(job_id=row.id, step=1, path="1"))
        bench.executor.worker.finish("done")
        await until(lambda: _done(bench.slot.unit is not None and bench.slot.unit.unstored_why != ""))
        await until(lambda: _done(refused >= 10))
        full = False
        await bench.slot.idle.wait()
        blocked = await bench.queue.job(row.id)
        assert blocked.state == "blocked"
        assert blocked.reason.startswith("No room left on the disk")
        said = [record for record in caplog.records if "cannot be stored yet" in record.getMessage()]
        assert len(said) == 1, "once, however often it was tried"

    on_bench(tmp_path, trip)


def test_previews_are_asked_of_every_worker_that_follows(tmp_path: Path) -> None:
    async def trip(bench: Bench) -> None:
        bench.slot.watch_previews(True)
        bench.executor.worker.die()
        await until(lambda: _done(len(bench.executor.workers) == 2 and bench.slot.is_ready))
        assert all([getattr(message, "wanted", None) for message in worker.sent] == [True] for worker in bench.executor.workers)

    on_bench(tmp_path, trip)


def test_other_errors_of_the_store_are_not_swallowed(tmp_path: Path) -> None:
    async def trip() -> None:
        async with open_queue(tmp_path) as queue:
            made = Bench(queue, FakeExecutor("gpu"), FAST)

            async def refused() -> None:
                raise NegError("internal", "The store is closed.")

            with pytest.raises(NegError):
                await made.slot._persist(refused)

    asyncio.run(trip())


def test_an_order_goes_to_the_unit_it_names_until_that_was_asked_to_stop(tmp_path: Path) -> None:
    async def trip(bench: Bench) -> None:
        assert not bench.slot.order("nobody", Checkpoint())
        row = await bench.start_job()
        assert not bench.slot.order("another", Checkpoint())
        assert bench.slot.order(row.id, Checkpoint())
        bench.slot.interrupt("pause")
        assert not bench.slot.order(row.id, Checkpoint())
        sent = [message for message in bench.executor.worker.sent if isinstance(message, OrderUnit)]
        assert sent == [OrderUnit(job_id=row.id, order=Checkpoint())]
        bench.executor.worker.die()
        await bench.slot.idle.wait()
        assert not bench.slot.order(row.id, Checkpoint())

    on_bench(tmp_path, trip)


def test_an_idle_worker_holds_a_model_and_what_it_tells_is_passed_on_under_its_name(tmp_path: Path) -> None:
    async def scene() -> None:
        async with bench(tmp_path) as made:
            order = HoldModel(model=ModelSpec(base="toy"), label="the model of fake")
            assert made.slot.hold(order)
            assert made.executor.worker.sent[-1] == order
            assert made.passed_on == [Residents(worker="gpu", doing="loading the model of fake")]
            part = ResidentPart(name="unet", kind="base", num_bytes=7, device="cpu")
            made.executor.worker.say(WorkerTold(event=Residents(worker="", parts=(part,))))
            await until(lambda: _done(made.slot.residents == Residents(worker="gpu", parts=(part,))))
            await made.start_job()
            assert not made.slot.hold(DropModels())
            made.executor.worker.die()
            await until(lambda: _done(made.slot.residents == Residents(worker="gpu")))
            assert made.passed_on[-1] == Residents(worker="gpu")

    asyncio.run(scene())
