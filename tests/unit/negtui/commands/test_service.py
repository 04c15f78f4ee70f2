from __future__ import annotations

from negtui.commands.invocation import Unreachable
from tests.fake_daemon import FakeDaemon, call


def test_without_a_command_status_and_help_are_printed_and_nothing_is_started() -> None:
    daemon = FakeDaemon()
    code, out, _ = call(daemon)
    assert code == 0
    assert "pid 7" in out
    assert "usage: negtui" in out
    assert daemon.started is False
    daemon.refusal = Unreachable("No daemon runs.")
    code, out, _ = call(daemon)
    assert code == 0
    assert "No daemon runs. It is started when needed." in out


def test_status_does_not_start_a_daemon_and_is_3_without_one() -> None:
    daemon = FakeDaemon()
    daemon.refusal = Unreachable("No daemon runs.", "negtui daemon start starts one.")
    assert call(daemon, "status")[0] == 3
    assert daemon.started is False
    assert call(daemon, "daemon", "stop")[0] == 0
    assert call(daemon, "jobs")[0] == 3
    assert daemon.started is True
