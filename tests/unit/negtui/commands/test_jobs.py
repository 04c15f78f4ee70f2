from __future__ import annotations

import json

import pytest

from daemon.protocol.commands import Steer
from daemon.protocol.errors import NegError
from daemon.protocol.orders import Checkpoint, LearningRate, Order, Sample, StopAndKeep
from tests.fake_daemon import JOBS, FakeDaemon, call


def test_jobs_may_be_named_by_the_beginning_of_their_id() -> None:
    daemon = FakeDaemon()
    for id in ("abc1", "abc2", "abc"):
        daemon.add(JOBS["train"], id=id)
    assert call(daemon, "cancel", "abc1")[1] == "train toy (abc1): cancelled\n"
    assert call(daemon, "pause", "abc")[1] == "train toy (abc): paused\n"
    assert call(daemon, "prioritise", "abc2", "-5")[1] == "train toy (abc2): queued, priority -5\n"
    code, _, err = call(daemon, "resume", "ab")
    assert code == 2
    assert "begins the ids of 3 jobs" in err
    assert call(daemon, "resume", "x")[0] == 2


@pytest.mark.parametrize(
    ("argv", "order", "words"),
    [
        (["sample", "ab"], Sample(), "paints sample pictures at its next step"),
        (["checkpoint", "ab"], Checkpoint(), "writes a checkpoint at its next step"),
        (["keep", "ab"], StopAndKeep(), "ends at its next step and keeps its adapter"),
        (["lr", "ab", "5e-5"], LearningRate(value=5e-5), "has learning_rate 5e-05 from its next step on"),
        (["learning-rate", "ab", "1"], LearningRate(value=1.0), "has learning_rate 1 from its next step on"),
    ],
)
def test_orders_are_passed_on_and_told(argv: list[str], order: Order, words: str) -> None:
    daemon = FakeDaemon()
    daemon.add(JOBS["train"], "running", id="abc")
    assert call(daemon, *argv) == (0, f"train toy (abc): running; {words}\n", "")
    assert daemon.asked[-1] == Steer(job_id="abc", order=order)
    code, out, _ = call(daemon, *argv, "--json")
    assert (code, json.loads(out)["job"]["state"]) == (0, "running")


def test_an_order_that_nobody_takes_is_2_with_the_reason() -> None:
    daemon = FakeDaemon()
    daemon.refusal = NegError("conflict", "train job abc does not run, it is paused.", "Resume it.")
    code, _, err = call(daemon, "keep", "abc")
    assert code == 2
    assert err == "negtui: train job abc does not run, it is paused.\n  Resume it.\n"
