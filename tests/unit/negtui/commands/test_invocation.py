from __future__ import annotations

import asyncio

import pytest

from daemon.protocol.commands import Jobs, ListJobs, Pong
from daemon.protocol.errors import NegError
from negtui.commands.invocation import Invocation, Told, ask, session_name, stored_events
from negtui.config import Settings
from negtui.output import Output
from tests.fake_daemon import JOBS, FakeDaemon, good


def test_an_answer_of_another_kind_is_an_error() -> None:
    daemon = FakeDaemon()
    assert asyncio.run(ask(daemon, ListJobs(), Jobs)) == Jobs(jobs=())
    with pytest.raises(NegError, match="ListJobs was answered with Jobs"):
        asyncio.run(ask(daemon, ListJobs(), Pong))


def test_stored_events_are_read_to_the_last_page() -> None:
    daemon = FakeDaemon()
    row = daemon.add(JOBS["synthesize"])
    daemon.log = list(good(row))

    async def read() -> list[Told]:
        return [told async for told in stored_events(daemon, row.id)]

    assert [told.seq for told in asyncio.run(read())] == [1, 2, 3, 4, 5, 6]


def test_a_connection_is_closed_whatever_happens() -> None:
    daemon = FakeDaemon()

    async def fail() -> None:
        async with Invocation(Settings(), Output(), daemon.connect).daemon():
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        asyncio.run(fail())
    assert daemon.is_closed


def test_names_of_sessions_are_checked_here() -> None:
    assert session_name("mine-1.b_c") == "mine-1.b_c"
    for text in ("../mine", "Mine", "", "a" * 64, "mine\n"):
        with pytest.raises(NegError, match="cannot name a session"):
            session_name(text)
