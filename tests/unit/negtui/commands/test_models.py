from __future__ import annotations

import json
from typing import Any

from daemon.protocol.commands import AnyCommand, LoadModel, Ordered, UnloadModel
from daemon.protocol.events import ResidentPart, Residents
from tests.fake_daemon import FakeDaemon, call

PART = ResidentPart(name="unet", kind="base", num_bytes=2**20, device="cuda", dtype="float16")


class Holding(FakeDaemon):
    """A daemon with two idle workers that do as they are told."""

    def __init__(self, *told: Residents) -> None:
        super().__init__()
        self.pending = list(told)

    async def request(self, command: AnyCommand) -> Any:
        if isinstance(command, (LoadModel, UnloadModel)):
            self.asked.append(command)
            return Ordered(workers=tuple(dict.fromkeys(event.worker for event in self.pending)))  # type: ignore[union-attr]
        return await super().request(command)


def test_loading_waits_for_every_worker_that_was_asked() -> None:
    daemon = Holding(
        Residents(worker="a", doing="loading toy"),
        Residents(worker="b", doing="loading toy"),
        Residents(worker="a", parts=(PART,)),
        Residents(worker="b", parts=(PART,)),
    )
    code, out, _ = call(daemon, "load", "toy", "--json")
    assert code == 0
    assert [json.loads(line)["residents"]["worker"] for line in out.splitlines()] == ["a", "b"]
    assert LoadModel(session="toy") in daemon.asked
    _, out, _ = call(Holding(Residents(worker="a", parts=(PART,))), "load", "toy")
    assert "1.0 MiB" in out


def test_what_failed_is_said_and_is_1() -> None:
    code, _, err = call(Holding(Residents(worker="a", error="It does not \x1b[31mfit.")), "load", "toy")
    assert (code, err) == (1, "negtui: worker a: It does not fit.\n")


def test_unloading() -> None:
    code, out, _ = call(Holding(Residents(worker="a")), "unload")
    assert (code, out) == (0, "Worker a holds nothing.\n")
