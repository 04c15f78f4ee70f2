from __future__ import annotations

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
