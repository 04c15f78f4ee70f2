"""Queue, scheduler and real worker processes with fake recipes: jobs end right whatever happens to whom."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from daemon.jobs import local
from daemon.jobs.hang import HangLimits
from daemon.jobs.local import LocalExecutor
from daemon.jobs.queue import JobQueue
from daemon.jobs.scheduler import Scheduler
from daemon.jobs.slot import Policy
from daemon.protocol.codec import decode_event
from daemon.protocol.events import ImageSaved, JobRow
from tests import fake_recipes
from tests.job_specs import open_queue, submission, until, until_state

FAST = Policy(restart_seconds=(0.05, 0.05), poll_seconds=0.05)


@asynccontextmanager
async def daemon_in(folder: Path, policy: Policy = FAST) -> AsyncIterator[tuple[JobQueue, Scheduler]]:
    async with open_queue(folder) as queue:
        executor = LocalExecutor(folder / "log", folder / "cache", environment={"NEGTUI_RECIPES": "tests.fake_recipes:RECIPES"})
        failures: list[BaseException] = []
        scheduler = Scheduler(queue, executor, policy, on_failure=failures.append)
        await scheduler.start()
        try:
            yield queue, scheduler
        finally:
            await scheduler.close(drain_seconds=5.0)
            assert failures == []


def trip_in(folder: Path, trip: Callable[[JobQueue, Scheduler], Awaitable[None]], policy: Policy = FAST) -> None:
    async def run() -> None:
        async with daemon_in(folder, policy) as (queue, scheduler):
            await trip(queue, scheduler)

    asyncio.run(run())


async def submit(queue: JobQueue, key: str = "key", **settings: object) -> JobRow:
    return (await queue.submit(submission(key, spec=fake_recipes.job(**settings)))).job


async def images_told(queue: JobQueue, job_id: str) -> list[int]:
    events = [decode_event(event.body) for event in await queue.log.read(0, 10_000, job_id)]
    return [event.index for event in events if isinstance(event, ImageSaved)]


def images_by(queue: JobQueue, job_id: str, count: int) -> Callable[[], Awaitable[bool]]:
    async def reached() -> bool:
        return len(await images_told(queue, job_id)) >= count

    return reached


def started(queue: JobQueue, job_id: str, fence: int) -> Callable[[], Awaitable[bool]]:
    async def reached() -> bool:
        return (await queue.job(job_id)).fence == fence

    return reached


def assert_computed_once(folder: Path, count: int, *, killed: bool = False) -> None:
    """Every picture is there and none was computed twice; a kill may come between a picture and its line in the count."""
    session_path = folder / "sessions" / "fake"
    computed = fake_recipes.computed(session_path)
    assert len(computed) == len(set(computed))
    assert len(list((session_path / "dataset").glob("*.png"))) == count
    assert killed or len(computed) == count


def test_done_and_done_again_without_work(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler) -> None:
        first = await submit(queue, "1", num_images=5)
        done = await until_state(queue, first.id, "done", "failed")
        assert (done.state, done.fence) == ("done", 1)
        second = await submit(queue, "2", num_images=5)
        await until_state(queue, second.id, "done")
        assert await images_told(queue, first.id) == await images_told(queue, second.id) == [0, 1, 2, 3, 4]
        assert_computed_once(tmp_path, 5)

    trip_in(tmp_path, trip)


@pytest.mark.parametrize(("raises", "code"), [("neg", "incompatible"), ("plain", "internal"), ("oom", "gpu_oom")])
def test_a_failure_is_the_jobs_not_the_workers(tmp_path: Path, raises: str, code: str) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler) -> None:
        bad = await submit(queue, "1", raises=raises, raises_at=1)
        good = await submit(queue, "2")
        failed = await until_state(queue, bad.id, "failed")
        assert failed.error is not None
        assert failed.error.code == code
        pids = scheduler.worker_pids()
        await until_state(queue, good.id, "done")
        assert scheduler.worker_pids() == pids

    trip_in(tmp_path, trip)


def test_a_cuda_error_costs_the_worker_and_at_last_the_job(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler) -> None:
        bad = await submit(queue, "1", raises="cuda", raises_at=1)
        failed = await until_state(queue, bad.id, "failed")
        assert failed.error is not None
        assert failed.error.code == "worker_lost"
        assert "CUDA error" in failed.error.message
        assert failed.fence == 3

    trip_in(tmp_path, trip)


def test_cancel_and_resume(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler) -> None:
        job = await submit(queue, num_images=30, step_seconds=0.01)
        await until(images_by(queue, job.id, 2))
        await queue.cancel(job.id)
        await until_state(queue, job.id, "cancelled")
        assert len(await images_told(queue, job.id)) < 30
        await queue.resume(job.id)
        await until_state(queue, job.id, "done")
        assert sorted(await images_told(queue, job.id)) == list(range(30))
        assert_computed_once(tmp_path, 30)

    trip_in(tmp_path, trip)


def test_pause_and_resume_while_another_runs(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler) -> None:
        job = await submit(queue, "1", num_images=30, step_seconds=0.01)
        other = await submit(queue, "2", num_images=1)
        await until(images_by(queue, job.id, 1))
        await queue.pause(job.id)
        await until_state(queue, other.id, "done")
        assert (await queue.job(job.id)).state == "paused"
        await queue.resume(job.id)
        assert (await until_state(queue, job.id, "done")).fence == 2

    trip_in(tmp_path, trip)


def test_random_kills_of_the_worker_lose_and_double_nothing(tmp_path: Path) -> None:
    dice = random.Random(7)

    async def trip(queue: JobQueue, scheduler: Scheduler) -> None:
        job = await submit(queue, num_images=60, step_seconds=0.005)
        for kill in range(1, 9):
            await until(started(queue, job.id, kill))
            await until(images_by(queue, job.id, len(await images_told(queue, job.id)) + 1))
            await asyncio.sleep(dice.random() * 0.02)
            os.kill(scheduler.worker_pids()["worker"], signal.SIGKILL)
        done = await until_state(queue, job.id, "done", "failed")
        assert (done.state, done.fence) == ("done", 9)
        assert await images_told(queue, job.id) == list(range(60))
        assert_computed_once(tmp_path, 60, killed=True)

    trip_in(tmp_path, trip)


def test_a_job_that_kills_its_worker_three_times_is_failed(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler) -> None:
        poison = await submit(queue, "1", kill_at=1, kill_times=99)
        good = await submit(queue, "2", num_images=1)
        failed = await until_state(queue, poison.id, "failed")
        assert failed.error is not None
        assert "SIGKILL" in failed.error.message
        assert str(tmp_path / "log") in failed.error.message
        await until_state(queue, good.id, "done")

    trip_in(tmp_path, trip)


def test_one_that_kills_it_twice_is_not(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler) -> None:
        job = await submit(queue, kill_at=1, kill_times=2)
        assert (await until_state(queue, job.id, "done", "failed")).state == "done"

    trip_in(tmp_path, trip)


def test_a_hang_is_ended_and_the_job_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "TERMINATE_SECONDS", 0.1)
    limits = HangLimits(silence_seconds=30, first_step_seconds=2.0, step_seconds=2.0)

    async def trip(queue: JobQueue, scheduler: Scheduler) -> None:
        job = await submit(queue, num_images=2, hang_at=1)
        done = await until_state(queue, job.id, "done", "failed")
        assert (done.state, done.fence) == ("done", 2)
        assert "most recent call first" in (tmp_path / "log").read_text()

    trip_in(tmp_path, trip, Policy(restart_seconds=(0.05, 0.05), hang=limits))


def test_a_full_disk_blocks_and_room_unblocks(tmp_path: Path) -> None:
    async def trip(queue: JobQueue, scheduler: Scheduler) -> None:
        full = tmp_path / "sessions" / "fake" / "full"
        full.touch()
        job = await submit(queue, num_images=4, full_file="full", full_at=2)
        blocked = await until_state(queue, job.id, "blocked")
        assert "No room left on the disk" in blocked.reason
        assert "goes on by itself" in blocked.reason
        full.unlink()
        await until_state(queue, job.id, "done")
        assert_computed_once(tmp_path, 4)

    trip_in(tmp_path, trip)


def test_draining_and_starting_again_goes_on(tmp_path: Path) -> None:
    async def first_life() -> str:
        async with daemon_in(tmp_path) as (queue, scheduler):
            job = await submit(queue, num_images=40, step_seconds=0.01)
            await until(images_by(queue, job.id, 2))
            await scheduler.close()
            row = await queue.job(job.id)
            assert (row.state, row.reason) == ("queued", "goes on at the next start of the daemon")
            return job.id

    async def second_life(job_id: str) -> None:
        async with daemon_in(tmp_path) as (queue, _):
            await until_state(queue, job_id, "done")
            assert await images_told(queue, job_id) == list(range(40))

    asyncio.run(second_life(asyncio.run(first_life())))
    assert_computed_once(tmp_path, 40)


FRONT = """
import asyncio, sys
from pathlib import Path
from tests.job_specs import submission
from tests.trips.test_jobs import daemon_in, submit

async def main():
    async with daemon_in(Path(sys.argv[1])) as (queue, scheduler):
        job = await submit(queue, num_images=60, step_seconds=0.005)
        while (await queue.job(job.id)).state not in ("running", "done"):
            await asyncio.sleep(0.01)
        print(job.id, *scheduler.worker_pids().values(), flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_kill_9_of_the_front_takes_the_worker_along_and_loses_nothing(tmp_path: Path, repository: Path) -> None:
    dice, job_ids = random.Random(11), set()
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", FRONT, str(tmp_path)], cwd=repository, stdout=subprocess.PIPE, text=True)
        with process:
            assert process.stdout is not None
            job_id, pid = process.stdout.readline().split()
            job_ids.add(job_id)
            asyncio.run(asyncio.sleep(dice.random() * 0.2))
            process.send_signal(signal.SIGKILL)

        async def gone(pid: str = pid) -> bool:
            return not Path("/proc", pid).exists()

        asyncio.run(until(gone, 10))

    async def last_life(job_id: str) -> None:
        async with daemon_in(tmp_path) as (queue, _):
            done = await until_state(queue, job_id, "done", "failed")
            assert (done.state, done.fence > 1) == ("done", True)
            assert await images_told(queue, job_id) == list(range(60))
            stored = await queue.log.read(0, 10_000)
            assert [event.seq for event in stored] == list(range(1, queue.log.head_seq + 1))

    assert len(job_ids) == 1, "the same key is the same job in every life"
    asyncio.run(last_life(job_ids.pop()))
    assert_computed_once(tmp_path, 60, killed=True)
