import asyncio
from pathlib import Path

import pytest

from daemon.jobs.queue import DiskLimits, JobQueue
from daemon.protocol.errors import NegError
from tests.job_specs import open_queue, submission


def test_submit_steer_list_and_tell(tmp_path: Path) -> None:
    async def trip() -> None:
        async with open_queue(tmp_path) as queue:
            changes: list[None] = []
            remove = queue.add_listener(lambda: changes.append(None))
            first = await queue.submit(submission("1"))
            again = await queue.submit(submission("1"))
            assert (again.job, again.replayed) == (first.job, True)
            assert len(changes) == 1
            second = (await queue.submit(submission("2"))).job
            assert [row.id for row in await queue.jobs()] == [first.job.id, second.id]
            assert await queue.jobs(session="other") == []
            assert (await queue.pause(second.id)).state == "paused"
            assert (await queue.resume(second.id)).state == "queued"
            assert (await queue.prioritise(second.id, 7)).priority == 7
            assert (await queue.cancel(second.id)).state == "cancelled"
            assert (await queue.job(second.id)).state == "cancelled"
            assert len(changes) == 6
            remove()
            await queue.resume(second.id)
            assert len(changes) == 6

    asyncio.run(trip())


def test_jobs_outlive_the_daemon(tmp_path: Path) -> None:
    async def first_life() -> None:
        async with open_queue(tmp_path) as queue:
            await queue.submit(submission("1"))

    async def second_life() -> None:
        async with open_queue(tmp_path) as queue:
            assert (await queue.submit(submission("1"))).replayed

    asyncio.run(first_life())
    asyncio.run(second_life())


def test_many_at_once_with_one_key_are_one_job(tmp_path: Path) -> None:
    async def trip() -> None:
        async with open_queue(tmp_path) as queue:
            answers = await asyncio.gather(*(queue.submit(submission("1")) for _ in range(20)))
            assert len({answer.job.id for answer in answers}) == 1
            assert [answer.replayed for answer in answers].count(False) == 1

    asyncio.run(trip())


def test_refusals(tmp_path: Path) -> None:
    async def trip() -> None:
        async with open_queue(tmp_path) as queue:
            with pytest.raises(NegError, match="no session 'nowhere'"):
                await queue.submit(submission("1", session="nowhere"))
            with pytest.raises(NegError, match="no job nowhere"):
                await queue.job("nowhere")

    asyncio.run(trip())


def test_a_nearly_full_disk_takes_no_new_jobs_but_answers_for_old_ones(tmp_path: Path) -> None:
    async def trip() -> None:
        async with open_queue(tmp_path) as queue:
            await queue.submit(submission("1"))
            full = JobQueue(queue.store, queue.log, queue.sessions_path, DiskLimits(2**62, 2**62))
            assert (await full.submit(submission("1"))).replayed
            with pytest.raises(NegError) as refusal:
                await full.submit(submission("2"))
            assert refusal.value.detail.code == "disk_full"
            assert refusal.value.detail.retryable

    asyncio.run(trip())


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DiskLimits.configured() == DiskLimits()
    monkeypatch.setenv("NEGTUI_MIN_FREE_MIB", "100")
    assert DiskLimits.configured() == DiskLimits(100 * 2**20, 200 * 2**20)
