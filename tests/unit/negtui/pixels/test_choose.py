from __future__ import annotations

import subprocess

import pytest

from daemon.protocol.errors import NegError
from negtui.pixels.base import BACKENDS
from negtui.pixels.choose import ask_tmux, choose, colours_of, prepare
from negtui.pixels.probe import Answers

KITTY = Answers(kitty=True, version="kitty(0.41.1)", answered=True)
XTERM = Answers(sixel=True, version="XTerm(379)", answered=True, sixel_colours=1024)
COLOURS = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


@pytest.mark.parametrize(
    ("answers", "environment", "tmux", "backend"),
    [
        (KITTY, COLOURS, "", "kitty"),
        (KITTY, {"TERM": "xterm-kitty"}, "", "kitty"),
        (Answers(kitty=True, version="ghostty 1.1.3", answered=True), COLOURS, "", "kitty"),
        (Answers(kitty=True, version="kitty(0.27.1)", answered=True), COLOURS, "", "half"),
        (Answers(kitty=True, sixel=True, version="Konsole 23.08.1", answered=True), COLOURS, "", "sixel"),
        (Answers(kitty=True, sixel=True, version="WezTerm 20240203", answered=True), COLOURS, "", "sixel"),
        (XTERM, COLOURS, "", "sixel"),
        (Answers(answered=True), COLOURS, "", "half"),
        (Answers(), COLOURS, "", "half"),
        (KITTY, {**COLOURS, "TERM_PROGRAM": "textual"}, "", "half"),
        (KITTY, {**COLOURS, "NO_COLOR": "1"}, "", "half"),
        (KITTY, {**COLOURS, "STY": "123.pts"}, "", "half"),
        (Answers(kitty=True, answered=True), {**COLOURS, "TMUX": "x"}, "kitty(0.41.1)\tRGB\ton", "kitty"),
        (Answers(sixel=True, answered=True), {**COLOURS, "TMUX": "x"}, "XTerm(379)\tRGB,sixel\toff", "sixel"),
        (Answers(sixel=True, answered=True, version="tmux 3.5a"), {**COLOURS, "TMUX": "x"}, "kitty(0.41.1)\tRGB\toff", "half"),
    ],
)
def test_the_best_that_works_is_chosen(answers: Answers, environment: dict[str, str], tmux: str, backend: str) -> None:
    choice = choose(answers, environment, tmux=tmux)
    assert choice.backend == backend
    assert choice.why
    assert choice.available[0] == backend
    assert choice.available[-2:] == ("half", "off") or backend == "half"


@pytest.mark.parametrize("asked", BACKENDS)
def test_what_is_asked_for_counts(asked: str) -> None:
    choice = choose(XTERM, COLOURS, asked)
    assert choice.backend == asked
    assert choice.available[0] == asked
    assert "sixel" in choice.available


def test_an_unknown_way_is_refused_in_words() -> None:
    with pytest.raises(NegError, match="'magic' is no way to draw pictures"):
        choose(Answers(), {}, "magic")
    with pytest.raises(NegError):
        prepare(None, environ={"NEGTUI_IMAGES": "magic"})


def test_ascii_leaves_only_text() -> None:
    assert choose(KITTY, COLOURS, ascii=True).backend == "half"


@pytest.mark.parametrize(
    ("environment", "colours"),
    [
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "xterm-direct"}, "truecolor"),
        ({"TERM": "linux"}, "16"),
        ({"TERM": "dumb"}, "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "none"),
        ({"TERM": "linux", "TEXTUAL_COLOR_SYSTEM": "256"}, "256"),
    ],
)
def test_colours_by_the_environment(environment: dict[str, str], colours: str) -> None:
    assert colours_of(environment) == colours


def test_ssh_and_the_number_of_registers_are_known() -> None:
    choice = choose(XTERM, {**COLOURS, "SSH_CONNECTION": "a b c d"})
    assert choice.over_ssh
    assert choice.sixel_colours == 256


def test_without_a_terminal_half_blocks_and_textual_is_told_not_to_animate() -> None:
    environment: dict[str, str] = {"TERM": "xterm"}
    choice, answers = prepare(None, environ=environment)
    assert choice.backend == "half"
    assert not answers.answered
    assert environment["TEXTUAL_ANIMATIONS"] == "none"
    assert environment["TEXTUAL_SMOOTH_SCROLL"] == "0"
    forced, _ = prepare("kitty", environ=environment)
    assert forced.colours == environment["TEXTUAL_COLOR_SYSTEM"] == "truecolor"


def test_no_tmux_tells_nothing() -> None:
    def broken(*given: object, **named: object) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError("tmux")

    assert ask_tmux(broken) == ""
    assert ask_tmux(lambda *given, **named: subprocess.CompletedProcess([], 0, "kitty(0.41.1)\tRGB\ton\n")) == "kitty(0.41.1)\tRGB\ton"
