"""Handlers over a real store and real folders, without sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.front.peers import Peer
from daemon.front.session_commands import SessionCommands, hide_if_idle
from daemon.jobs import runs
from daemon.jobs.queue import JobQueue
from daemon.protocol.commands import ChangeSession, CreateSession, DeleteSession, DuplicateSession, ListSessions, ReadSession
from daemon.protocol.errors import NegError
from tests.job_specs import open_queue, submission

PEER = Peer(id=b"a", heard=0.0, tokens=1.0)


class Bench:
    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue
        self.commands = SessionCommands(queue, asyncio.Lock())

    async def do(self, command: Any) -> Any:
        return await self.commands.table()[type(command)](command, PEER)

    async def refused(self, command: Any) -> NegError:
        with pytest.raises(NegError) as refused:
            await self.do(command)
        return refused.value


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    async with open_queue(folder) as queue:
        (folder / "sessions/fake/session.toml").write_text('[model]\nbase = "toy"\n')
        yield Bench(queue)


def test_a_session_from_its_making_to_its_end(tmp_path: Path) -> None:
    async def scene() -> None:
        async with bench(tmp_path) as made:
            await made.do(CreateSession(name="mine", template="toy", skip_checks=True))
            answer = await made.do(ChangeSession(name="mine", changes={"training.rank": "2"}, skip_checks=True))
            assert (await made.do(ReadSession(name="mine"))).spec == answer.spec
            await made.do(DuplicateSession(name="mine", new_name="second"))
            await made.do(DeleteSession(name="mine", typed="mine"))
            assert [row.name for row in (await made.do(ListSessions())).sessions] == ["fake", "second"]

    asyncio.run(scene())


@pytest.mark.parametrize("state", ["queued", "running", "paused", "blocked"])
def test_a_session_with_a_job_that_is_not_over_is_not_deleted(tmp_path: Path, state: str) -> None:
    async def scene() -> None:
        async with bench(tmp_path) as made:
            job = (await made.queue.submit(submission())).job
            if state == "running":
                await made.queue.store.write(runs.start_next)
            elif state == "paused":
                await made.queue.pause(job.id)
            elif state == "blocked":
                await made.queue.cancel(job.id)
                job = (await made.queue.submit(submission("second", after=(job.id,)))).job
            error = await made.refused(DeleteSession(name="fake", typed="fake"))
            assert (error.detail.code, f"it is {state}" in str(error), job.id in str(error)) == ("conflict", True, True)
            assert (tmp_path / "sessions/fake/session.toml").is_file()
            if state != "running":
                await made.queue.cancel(job.id)
                await made.do(DeleteSession(name="fake", typed="fake"))
                assert not (tmp_path / "sessions/fake").exists()

    asyncio.run(scene())


def test_jobs_of_other_sessions_do_not_matter(tmp_path: Path) -> None:
    async def scene() -> None:
        async with bench(tmp_path) as made:
            await made.do(DuplicateSession(name="fake", new_name="other"))
            await made.queue.submit(submission())
            hidden = await made.queue.store.read(lambda connection: hide_if_idle(connection, tmp_path / "sessions", "other"))
            assert (hidden / "session.toml").is_file()

    asyncio.run(scene())
