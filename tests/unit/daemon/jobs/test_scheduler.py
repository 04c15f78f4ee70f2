import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from daemon.jobs import runs
from daemon.jobs.queue import DiskLimits, JobQueue
from daemon.jobs.scheduler import Scheduler, log_failure
from daemon.jobs.slot import Policy
from daemon.protocol.errors import NegError
from daemon.protocol.events import EphemeralEvent, StepProgress
from daemon.protocol.link import DropModels, OrderUnit, WatchPreviews
from daemon.protocol.orders import LearningRate, Sample
from tests.fake_executor import FakeExecutor
from tests.job_specs import NO_LIMITS, TRAINING, open_queue, submission, until, until_state

FAST = Policy(restart_seconds=(0.01, 0.02), poll_seconds=0.02)


@asynccontextmanager
async def scheduled(folder: Path, executor: FakeExecutor, limits: DiskLimits = NO_LIMITS) -> AsyncIterator[tuple[JobQueue, Scheduler]]:
    async with open_queue(folder, limits) as queue:
        failures: list[BaseException] = []
        scheduler = Scheduler(queue, executor, FAST, on_failure=failures.append)
        await scheduler.start()
        try:
            yield queue, scheduler
        finally:
            await scheduler.close(drain_seconds=0.05)
            assert failures == []


def trip_with(folder: Path, trip: Callable[[JobQueue, Scheduler, FakeExecutor], Awaitable[None]], *names: str) -> None:
    async def run() -> None:
        executor = FakeExecutor(*names)
        async with scheduled(folder, executor) as (queue, scheduler):
            await trip(queue, scheduler, executor)

    asyncio.run(run())


async def given(executor: FakeExecutor, count: int) -> None:
    async def reached() -> bool:
        return sum(len(worker.units) for worker in executor.workers) == count

    await until(reached)


def test_one_after_another_by_priority_then_age(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler, executor: FakeExecutor) -> None:
        jobs = [(await queue.submit(submission(str(number), priority=number == 2))).job.id for number in range(4)]
        for count in range(1, 5):
            await given(executor, count)
            executor.worker.finish()
            await until_state(queue, executor.worker.units[-1].job_id, "done")
        ran = [unit.job_id for unit in executor.worker.units]
        assert ran in ([jobs[0], jobs[2], jobs[1], jobs[3]], [jobs[2], jobs[0], jobs[1], jobs[3]])

    trip_with(tmp_path, trip)


def test_two_workers_run_two_sessions_but_not_one_twice(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler, executor: FakeExecutor) -> None:
        (tmp_path / "sessions" / "other").mkdir()
        for key, session in (("1", "fake"), ("2", "fake"), ("3", "other")):
            await queue.submit(submission(key, session=session))
        await given(executor, 2)
        assert sorted(unit.spec.session for worker in executor.workers for unit in worker.units) == ["fake", "other"]
        assert scheduler.workers() == {"a": "busy", "b": "busy"}
        assert set(scheduler.worker_pids().values()) == {worker.pid for worker in executor.workers}

    trip_with(tmp_path, trip, "a", "b")


def test_cancel_pause_and_resume_reach_the_worker(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler, executor: FakeExecutor) -> None:
        job = (await queue.submit(submission())).job
        await given(executor, 1)
        await queue.pause(job.id)
        await until(lambda: _true(executor.worker.interrupts == ["pause"]))
        executor.worker.finish("paused")
        await until_state(queue, job.id, "paused")
        await queue.resume(job.id)
        await given(executor, 2)
        assert executor.worker.units[1].fence == 2
        await queue.cancel(job.id)
        await until(lambda: _true(executor.worker.interrupts == ["pause", "cancel"]))
        executor.worker.finish("cancelled")
        await until_state(queue, job.id, "cancelled")

    trip_with(tmp_path, trip)


def test_an_order_reaches_the_worker_that_runs_the_training_as_soon_as_it_is_running(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler, executor: FakeExecutor) -> None:
        (tmp_path / "sessions" / "other").mkdir()
        await queue.submit(submission("1", session="other"))
        job = (await queue.submit(submission("2", spec=TRAINING))).job
        await until_state(queue, job.id, "running")
        assert (await scheduler.order(job.id, Sample())).id == job.id
        assert (await scheduler.order(job.id, LearningRate(value=0.5))).state == "running"
        (worker,) = (worker for worker in executor.workers if any(unit.job_id == job.id for unit in worker.units))
        orders = [message for other in executor.workers for message in other.sent if isinstance(message, OrderUnit)]
        assert orders == [OrderUnit(job_id=job.id, order=Sample()), OrderUnit(job_id=job.id, order=LearningRate(value=0.5))]
        assert [message for message in worker.sent if isinstance(message, OrderUnit)] == orders

    trip_with(tmp_path, trip, "a", "b")


def test_an_order_that_nobody_can_take_is_refused(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler, executor: FakeExecutor) -> None:
        job = (await queue.submit(submission(spec=TRAINING))).job
        await given(executor, 1)
        await queue.pause(job.id)
        for id, code in ((job.id, "conflict"), ("nowhere", "not_found")):
            with pytest.raises(NegError) as refusal:
                await scheduler.order(id, Sample())
            assert refusal.value.detail.code == code
        await until(lambda: _true(executor.worker.interrupts == ["pause"]))
        await queue.resume(job.id)
        with pytest.raises(NegError, match="is just stopping") as refusal:
            await scheduler.order(job.id, Sample())
        assert (refusal.value.detail.code, refusal.value.detail.retryable) == ("conflict", True)

    trip_with(tmp_path, trip)


def test_a_dependent_starts_when_its_turn_comes(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler, executor: FakeExecutor) -> None:
        first = (await queue.submit(submission("1"))).job
        second = (await queue.submit(submission("2", after=(first.id,)))).job
        await given(executor, 1)
        executor.worker.finish("failed", error=NegError("incompatible", "m").detail)
        assert (await until_state(queue, second.id, "blocked")).reason.startswith("waits for")
        await queue.resume(first.id)
        await given(executor, 2)
        executor.worker.finish()
        await given(executor, 3)
        assert executor.worker.units[-1].job_id == second.id

    trip_with(tmp_path, trip)


def test_three_deaths_make_a_job_poison_and_the_next_one_runs(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler, executor: FakeExecutor) -> None:
        poison = (await queue.submit(submission("1"))).job
        healthy = (await queue.submit(submission("2"))).job
        for count in range(1, 4):
            await given(executor, count)
            executor.worker.die()
        failed = await until_state(queue, poison.id, "failed")
        assert failed.error is not None
        assert failed.error.code == "worker_lost"
        await given(executor, 4)
        assert executor.worker.units[-1].job_id == healthy.id

    trip_with(tmp_path, trip)


def test_closing_drains(tmp_path: Path) -> None:
    async def run() -> None:
        executor = FakeExecutor()
        async with open_queue(tmp_path) as queue:
            scheduler = Scheduler(queue, executor, FAST)
            await scheduler.start()
            job = (await queue.submit(submission())).job
            waiting = (await queue.submit(submission("other"))).job
            await given(executor, 1)
            closing = asyncio.create_task(scheduler.close())
            await until(lambda: _true(executor.worker.interrupts == ["pause"]))
            executor.worker.finish("paused")
            await closing
            row = await queue.job(job.id)
            assert (row.state, row.reason) == ("queued", "goes on at the next start of the daemon")
            assert (await queue.job(waiting.id)).fence == 0
            assert scheduler.workers() == {"worker": "stopped"}

    asyncio.run(run())


def test_starting_is_recovery(tmp_path: Path) -> None:
    async def dies() -> str:
        async with open_queue(tmp_path) as queue:
            await queue.submit(submission())
            row = await queue.store.write(runs.start_next)
            assert row is not None
            return row.id

    job_id = asyncio.run(dies())

    async def trip(queue: JobQueue, scheduler: Scheduler, executor: FakeExecutor) -> None:
        await given(executor, 1)
        unit = executor.worker.units[0]
        assert (unit.job_id, unit.fence) == (job_id, 3)
        executor.worker.finish()
        await until_state(queue, job_id, "done")

    trip_with(tmp_path, trip)


def test_too_little_room_blocks_what_runs_until_there_is_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 1000

    async def run() -> None:
        nonlocal free
        executor = FakeExecutor()
        async with scheduled(tmp_path, executor, DiskLimits(100, 200)) as (queue, _):
            monkeypatch.setattr(queue, "free_bytes", lambda: free)
            job = (await queue.submit(submission())).job
            await given(executor, 1)
            free = 99
            await until(lambda: _true(executor.worker.interrupts == ["pause"]))
            executor.worker.finish("paused")
            assert "MiB are free" in (await until_state(queue, job.id, "blocked")).reason
            free = 200
            await given(executor, 2)

    asyncio.run(run())


def test_progress_is_passed_on_and_previews_are_asked_for(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler, executor: FakeExecutor) -> None:
        heard: list[EphemeralEvent] = []
        remove = scheduler.add_ephemeral_listener(heard.append)
        job = (await queue.submit(submission())).job
        await given(executor, 1)
        scheduler.watch_previews(True)
        scheduler.watch_previews(True)
        assert executor.worker.sent.count(WatchPreviews(wanted=True)) == 1
        progress = StepProgress(job_id=job.id, phase="train", step=1, num_steps=2)
        executor.worker.tell(progress)
        await until(lambda: _true(heard == [progress]))
        remove()
        executor.worker.tell(progress)
        executor.worker.finish()
        await until_state(queue, job.id, "done")
        assert heard == [progress]

    trip_with(tmp_path, trip)


def test_its_own_failure_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        failures: list[BaseException] = []
        async with open_queue(tmp_path) as queue:
            scheduler = Scheduler(queue, FakeExecutor(), FAST, on_failure=failures.append)
            await scheduler.start()

            async def broken(*arguments: object) -> None:
                raise NegError("internal", "broken")

            queue.store.read = broken  # type: ignore[method-assign, assignment]
            await until(lambda: _true(len(failures) == 1))
            log_failure(failures[0])
            await scheduler.close(drain_seconds=0.01)

    asyncio.run(run())
    assert "restart the daemon" in caplog.text


async def _true(value: bool) -> bool:
    return value


def test_only_idle_workers_give_their_memory_back(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler, executor: FakeExecutor) -> None:
        await until(lambda: _is(set(scheduler.workers().values()) == {"ready"}))
        assert scheduler.hold(DropModels()) == ("a", "b")
        assert [told.doing for told in scheduler.residents()] == ["unloading", "unloading"]
        await queue.submit(submission())
        await given(executor, 1)
        await until(lambda: _is("busy" in scheduler.workers().values()))
        (idle,) = scheduler.hold(DropModels())
        assert scheduler.workers()[idle] == "ready"

    trip_with(tmp_path, trip, "a", "b")


async def _is(value: bool) -> bool:
    return value
