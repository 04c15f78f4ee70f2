import asyncio
from pathlib import Path

import pytest

from daemon.jobs import room, runs
from daemon.jobs.queue import DiskLimits, JobQueue
from daemon.jobs.room import RoomWatch
from daemon.jobs.slot import Hooks, Policy, Slot, Unit
from daemon.protocol.events import JobRow
from tests.fake_executor import FakeExecutor
from tests.job_specs import open_queue, submission


async def blocked_job(queue: JobQueue) -> JobRow:
    await queue.submit(submission())
    row = await queue.store.write(runs.start_next)
    assert row is not None
    ended = await queue.end(row.id, row.fence, "paused", None, {}, "", "Full.")
    assert ended is not None
    return ended


def test_room_lets_blocked_jobs_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 50

    async def trip() -> None:
        nonlocal free
        async with open_queue(tmp_path, DiskLimits(0, 100)) as queue:
            monkeypatch.setattr(queue, "free_bytes", lambda: free)
            row = await blocked_job(queue)
            watch = RoomWatch(queue, 0.0)
            assert not await watch.look([])
            free = 100
            assert await watch.look([])
            assert (await queue.job(row.id)).state == "queued"
            assert not await watch.look([])

    asyncio.run(trip())


def test_a_job_that_finds_no_room_again_is_let_on_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(room.time, "monotonic", lambda: now)

    async def trip() -> None:
        nonlocal now
        async with open_queue(tmp_path) as queue:
            row = await blocked_job(queue)
            watch = RoomWatch(queue, 5.0)
            watch.note(row)
            tries = []
            for second in range(200):
                now = float(second)
                if await watch.look([]):
                    tries.append(second)
                    started = await queue.store.write(runs.start_next)
                    assert started is not None
                    again = await queue.end(row.id, started.fence, "paused", None, {}, "", "Full.")
                    assert again is not None
                    watch.note(again)
            assert tries == [5, 15, 35, 75, 155]

    asyncio.run(trip())


def test_too_little_room_marks_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def trip() -> None:
        async with open_queue(tmp_path, DiskLimits(100, 200)) as queue:
            monkeypatch.setattr(queue, "free_bytes", lambda: 2**20 * 1000)
            row = (await queue.submit(submission())).job
            slot = Slot("gpu", queue, FakeExecutor(), Policy(), Hooks(lambda: None, lambda event: None, lambda row: None))
            slot.unit = Unit(row)
            watch = RoomWatch(queue, 0.0)
            assert not await watch.look([slot])
            monkeypatch.setattr(queue, "free_bytes", lambda: 50)
            assert await watch.look([slot])
            assert slot.unit.no_room == "Only 0 MiB are free on the disk."
            assert not await watch.look([slot])

    asyncio.run(trip())
