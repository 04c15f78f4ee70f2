from __future__ import annotations

import json

import pytest

from daemon.protocol.errors import NegError
from negtui.commands.invocation import Unreachable
from tests.fake_daemon import JOBS, FakeDaemon, call


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NegError("not_found", "There is no session."), 2),
        (NegError("invalid", "line 3: rank is 0"), 2),
        (NegError("wrong_state", "It is done."), 2),
        (Unreachable("No daemon runs.", "Start it."), 3),
        (NegError("disk_full", "No room.", "Free some."), 5),
        (NegError("internal", "Oops."), 1),
    ],
)
def test_errors_are_words_and_codes(error: NegError, code: int) -> None:
    daemon = FakeDaemon()
    daemon.refusal = error
    found, out, err = call(daemon, "check", "toy")
    assert (found, out) == (code, "")
    assert err.splitlines()[0] == f"negtui: {error.detail.message}"
    found, out, _ = call(daemon, "check", "toy", "--json")
    assert json.loads(out)["error"]["code"] == error.detail.code


def test_a_fault_of_our_own_is_no_traceback() -> None:
    class Broken(FakeDaemon):
        async def request(self, command: object) -> object:  # type: ignore[override]
            raise ZeroDivisionError("by zero")

    code, _, err = call(Broken(), "jobs")
    assert code == 1
    assert err.startswith("negtui: ZeroDivisionError: by zero\n")


@pytest.mark.parametrize(
    "command", [["status"], ["jobs"], ["sessions"], ["check", "toy"], ["new", "mine"], ["daemon", "start"], ["daemon", "status"]]
)
def test_json_of_a_command_is_one_object(command: list[str]) -> None:
    daemon = FakeDaemon()
    daemon.add(JOBS["train"], "running")
    code, out, _ = call(daemon, *command, "--json")
    assert code == 0
    assert len(out.splitlines()) == 1
    assert isinstance(json.loads(out), dict)
