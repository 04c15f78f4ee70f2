from __future__ import annotations

import json

import msgspec

from daemon.protocol.commands import AnyCommand, AnyResult, ReadSweep
from daemon.protocol.specs import sweep_job
from daemon.protocol.sweep_spec import SweepSpec
from tests.fake_daemon import SPEC, FakeDaemon, call
from tests.unit.negtui.test_sweeping import ANSWER

DECLARED = SweepSpec(weights=(0.5, 1.0))


class Told(FakeDaemon):
    """Knows one sweep."""

    async def request(self, command: AnyCommand) -> AnyResult:
        return ANSWER if isinstance(command, ReadSweep) else await super().request(command)


def test_what_the_session_declares_or_the_line_says_is_swept() -> None:
    for declared, arguments in ((DECLARED, ()), (None, ("--weights", "0.5", "1"))):
        daemon = FakeDaemon()
        daemon.spec = msgspec.structs.replace(SPEC, sweep=declared)
        code, out, err = call(daemon, "sweep", "toy", *arguments, "--detach")
        assert (code, err) == (0, "")
        assert SPEC.comparison is not None
        assert daemon.submitted == [(sweep_job("toy", SPEC.model, DECLARED, SPEC.comparison), ())]
        assert "sweep toy/default" in out


def test_without_axes_it_says_what_to_do() -> None:
    code, _, err = call(FakeDaemon(), "sweep", "toy")
    assert code == 2
    assert "has no [sweep]" in err


def test_results_tell_a_sweep() -> None:
    code, out, _ = call(Told(), "results", "toy", "--sweep")
    assert code == 0
    assert "stopped after 4 blocks" in out
    code, out, _ = call(Told(), "--json", "results", "toy", "--sweep", "default")
    assert json.loads(out)["table"]["metric"] == "flaw_probability"
