from __future__ import annotations

import os
import termios

import pytest

from negtui.pixels.base import CellSize
from negtui.pixels.probe import parse, probe
from tests.scripted_terminal import CELL, DA1, DUMB, KITTY_TERMINAL, THROUGH_TMUX, VERSION, XTERM, ScriptedTerminal, left_over


@pytest.mark.parametrize("round_trip", [0.0, 0.05, 0.15, 0.3])
def test_every_answer_is_read_and_none_is_left_as_keys(round_trip: float) -> None:
    with ScriptedTerminal(KITTY_TERMINAL, round_trip).running() as terminal:
        before = termios.tcgetattr(terminal.descriptor)
        answers = probe(terminal.descriptor, terminal.descriptor)
        assert termios.tcgetattr(terminal.descriptor) == before
        assert (answers.kitty, answers.version, answers.cell, answers.sixel) == (True, "kitty(0.41.1)", CellSize(9, 18), False)
        assert answers.answered
        assert set(answers.seconds) == {"kitty", "cell", "version", "da1"}
        assert left_over(terminal.descriptor, 0.4) == b""


def test_xterm_tells_sixel_and_how_large() -> None:
    with ScriptedTerminal(XTERM, 0.02).running() as terminal:
        answers = probe(terminal.descriptor, terminal.descriptor)
    assert (answers.kitty, answers.sixel, answers.sixel_colours, answers.sixel_max) == (False, True, 256, (1000, 1000))


def test_a_silent_terminal_is_given_up() -> None:
    with ScriptedTerminal({b"never": b""}).running() as terminal:
        answers = probe(terminal.descriptor, terminal.descriptor, seconds=0.2)
    assert not answers.answered
    assert answers.cell is None


def test_keys_pressed_meanwhile_do_no_harm() -> None:
    with ScriptedTerminal(DUMB, 0.1).running() as terminal:
        terminal.press(b"q\x1b[A")
        answers = probe(terminal.descriptor, terminal.descriptor)
        assert answers.answered
        assert left_over(terminal.descriptor, 0.2) == b""


@pytest.mark.parametrize("late", [0.0, 0.3])
def test_through_tmux_the_outer_terminal_is_waited_for(late: float) -> None:
    tmux = {THROUGH_TMUX: b"\x1b_Gi=31;OK\x1b\\", CELL: b"\x1b[6;18;9t", VERSION: b"\x1bP>|tmux 3.5a\x1b\\", DA1: b"\x1b[?1;2;4c"}
    with ScriptedTerminal(tmux, late=late).running() as terminal:
        answers = probe(terminal.descriptor, terminal.descriptor, in_tmux=True, passthrough=True)
        assert answers.kitty
        assert left_over(terminal.descriptor, 0.4) == b""


def test_in_tmux_without_passthrough_kitty_is_not_asked() -> None:
    with ScriptedTerminal(DUMB).running() as terminal:
        assert not probe(terminal.descriptor, terminal.descriptor, in_tmux=True).kitty
        assert b"_G" not in terminal.asked


def test_the_window_tells_the_cells_where_the_terminal_does_not() -> None:
    with ScriptedTerminal(DUMB).running() as terminal:
        termios.tcsetwinsize(terminal.descriptor, (24, 80))
        assert probe(terminal.descriptor, terminal.descriptor).cell is None
        import fcntl
        import struct

        fcntl.ioctl(terminal.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 720, 432))
        assert probe(terminal.descriptor, terminal.descriptor).cell == CellSize(9, 18)


def test_a_pipe_has_no_answers() -> None:
    reading, writing = os.pipe()
    assert not probe(reading, writing).answered
    os.close(reading)
    os.close(writing)


def test_refusals_and_nonsense_are_no_answers() -> None:
    assert not parse(b"\x1b_Gi=31;ENOTSUPPORTED:no\x1b\\\x1b[?62c").kitty
    assert parse(b"\x1b[6;0;0t").cell is None
    assert not parse(b"\x1b[?14;24c").sixel
    assert parse(b"").seconds == {}
