from __future__ import annotations

import io

from negtui.output import Output
from negtui.progress import BarProgress, PlainProgress
from negtui.wording import Reading
from tests.fake_daemon import FakeDaemon, call, good


def test_a_pipe_gets_no_escapes_and_a_terminal_gets_bars() -> None:
    _, out, _ = call(FakeDaemon(good), "run", "toy")
    assert "\x1b" not in out
    assert "\r" not in out
    _, out, _ = call(FakeDaemon(good), "run", "toy", is_terminal=True)
    assert "━" in out
    assert "\x1b[2J" not in out


def test_quiet_keeps_the_results() -> None:
    _, out, _ = call(FakeDaemon(good), "run", "toy", "--quiet")
    assert "running" not in out
    assert "Where the time went" not in out
    assert "Verdict" in out


def test_a_job_that_looks_at_itself_is_as_far_as_it_was() -> None:
    stream = io.StringIO()
    lines = PlainProgress(Output(stdout=stream))
    for reading in (Reading(0.5, "step 5", "train"), Reading(None, "sample: image 1 of 6"), Reading(0.5, "step 5", "train")):
        lines.update("j", "train toy", reading)
    assert stream.getvalue() == "train toy: 50 % (step 5)\n"
    stream = io.StringIO()
    with BarProgress(Output(stdout=stream)) as bars:
        bars.update("j", "train toy", Reading(0.5, "step 5", "train"))
        bars.update("j", "train toy", Reading(None, "sample: image 1 of 6"))
    last = stream.getvalue().splitlines()[-1]
    assert "50 %" in last
    assert "sample: image 1 of 6" in last
