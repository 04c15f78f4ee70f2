from __future__ import annotations

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
