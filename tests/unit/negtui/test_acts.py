from __future__ import annotations

import asyncio

import msgspec

from daemon.protocol.commands import AnyCommand, AnyResult, Submit
from negtui.acts import start_acts
from tests.fake_daemon import JOBS, SPEC, FakeDaemon


def start(daemon: FakeDaemon, *kinds: str, refuses: type | None = None) -> list[str] | None:
    async def ask(command: AnyCommand) -> AnyResult | None:
        if refuses is not None and isinstance(command, refuses):
            return None
        if isinstance(command, Submit):
            return await daemon.submit(command.spec, command.after)
        return await daemon.request(command)

    rows = asyncio.run(start_acts(ask, "toy", kinds or ("synthesize", "train", "compare")))
    return None if rows is None else [row.id for row in rows]


def test_each_act_waits_for_the_one_before() -> None:
    daemon = FakeDaemon()
    assert start(daemon) == ["job1", "job2", "job3"]
    assert [after for _, after in daemon.submitted] == [(), ("job1",), ("job2",)]


def test_what_is_under_way_is_joined_and_what_stands_resumed() -> None:
    daemon = FakeDaemon()
    daemon.add(JOBS["synthesize"], "running")
    daemon.add(JOBS["train"], "paused")
    assert start(daemon) == ["job1", "job2", "job3"]
    assert [spec for spec, _ in daemon.submitted] == [JOBS["compare"]]
    assert daemon.jobs[1].state == "queued"


def test_a_refusal_ends_it_and_a_missing_act_is_no_job() -> None:
    daemon = FakeDaemon()
    assert start(daemon, refuses=Submit) is None
    daemon.spec = msgspec.structs.replace(SPEC, comparison=None)
    assert start(daemon, "compare") == []
