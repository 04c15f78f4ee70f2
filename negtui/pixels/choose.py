"""Which way of drawing pictures a terminal gets, by what it answered, the environment and what was asked for. Draws nothing itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import cast

from daemon.protocol.errors import NegError
from negtui.pixels.base import BACKENDS, Backend, CellSize, Choice, Colours
from negtui.pixels.probe import Answers, probe

MIN_KITTY = (0, 28, 0)
"""The first kitty with Unicode placeholders."""
ASKED = ("auto", *BACKENDS)
TMUX_FORMAT = "#{client_termtype}\t#{client_termfeatures}\t#{allow-passthrough}"

Environment = Mapping[str, str]


def choose(answers: Answers, environment: Environment, asked: str = "auto", *, tmux: str = "", ascii: bool = False) -> Choice:
    """The choice for a terminal. `tmux` is what tmux tells by `TMUX_FORMAT`. Raises `NegError` where `asked` names no backend."""
    if asked not in ASKED:
        raise NegError("invalid", f"{asked!r} is no way to draw pictures.", f"Known are {', '.join(ASKED)}.")
    colours = colours_of(environment)
    best, why = _best(answers, environment, tmux, colours, ascii=ascii)
    available = _available(answers, best)
    backend = best if asked == "auto" else cast(Backend, asked)
    if asked != "auto":
        why = "asked for by --images or NEGTUI_IMAGES"
        available = tuple(dict.fromkeys((backend, *available)))
    return Choice(
        backend=backend,
        why=why,
        available=available,
        cell=answers.cell or CellSize(),
        colours="truecolor" if backend == "kitty" else colours,
        in_tmux="TMUX" in environment,
        over_ssh=any(environment.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")),
        ascii=ascii,
        sixel_colours=min(answers.sixel_colours or 256, 256),
        sixel_max=answers.sixel_max,
    )


def colours_of(environment: Environment) -> Colours:
    """How many colours text may have."""
    term = environment.get("TERM", "")
    if environment.get("NO_COLOR") or term in ("dumb", "vt100", "vt220"):
        return "none"
    forced = {"truecolor": "truecolor", "256": "256", "standard": "16"}.get(environment.get("TEXTUAL_COLOR_SYSTEM", ""))
    if forced:
        return cast(Colours, forced)
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit") or term.endswith("-direct") or "kitty" in term:
        return "truecolor"
    return "256" if "256color" in term or "ghostty" in term else "16"


def prepare(images: str | None = None, *, ascii: bool = False, environ: dict[str, str] | None = None) -> tuple[Choice, Answers]:
    """Probe the terminal on stdin and stdout and choose; call it before `textual` is imported: it sets what Textual reads then.

    `images` is the option's value, else `NEGTUI_IMAGES`. Raises `NegError` where it names no backend.
    """
    environment = os.environ if environ is None else environ
    asked = images or environment.get("NEGTUI_IMAGES") or "auto"
    if asked not in ASKED:
        choose(Answers(), environment, asked)
    tmux = ask_tmux() if "TMUX" in environment else ""
    answers = Answers()
    if sys.__stdin__ is not None and sys.__stdout__ is not None and sys.__stdin__.isatty() and sys.__stdout__.isatty():
        passes = _tmux_passes(tmux)
        answers = probe(sys.__stdin__.fileno(), sys.__stdout__.fileno(), in_tmux="TMUX" in environment, passthrough=passes)
    choice = choose(answers, environment, asked, tmux=tmux, ascii=ascii)
    environment.setdefault("TEXTUAL_ANIMATIONS", "none")
    environment.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
    if choice.backend == "kitty":
        # ssh does not forward COLORTERM, and a placeholder's id is a 24-bit colour.
        environment["TEXTUAL_COLOR_SYSTEM"] = "truecolor"
    return choice, answers


def ask_tmux(run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run, wanted: str = TMUX_FORMAT) -> str:
    """What tmux tells of the terminal around it and of itself, or what else is `wanted` of it; empty where it does not."""
    try:
        done = run(["tmux", "display-message", "-p", wanted], capture_output=True, text=True, timeout=1.0, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.rstrip("\n")


def _best(answers: Answers, environment: Environment, tmux: str, colours: Colours, *, ascii: bool) -> tuple[Backend, str]:
    if ascii:
        return "half", "only ASCII is to be drawn"
    if environment.get("TERM_PROGRAM") == "textual":
        return "half", "a browser shows only text (textual-serve)"
    if colours == "none":
        return "half", "NO_COLOR or a terminal without colours: shades"
    if "TMUX" in environment:
        if answers.kitty and _has_placeholders(tmux.partition("\t")[0] or answers.version):
            return "kitty", "the terminal around tmux answered the kitty query through it"
        if "sixel" in [*tmux.split("\t"), "", ""][1].split(","):
            return "sixel", "tmux says that the terminal around it draws sixel"
        return "half", "tmux passes nothing else on; `negtui doctor` names the lines for tmux.conf"
    if environment.get("STY"):
        return "half", "GNU screen passes no pictures on"
    if answers.kitty and _has_placeholders(answers.version):
        return "kitty", f"{answers.version} answered the kitty query and has Unicode placeholders"
    if answers.sixel:
        return "sixel", f"{answers.version or 'the terminal'} says in DA1 that it draws sixel"
    if answers.kitty:
        return "half", f"{answers.version or 'the terminal'} draws kitty pictures but has no Unicode placeholders"
    return "half", "the terminal answered neither for kitty nor for sixel" if answers.answered else "the terminal did not answer"


def _available(answers: Answers, best: Backend) -> tuple[Backend, ...]:
    found: list[Backend] = [best]
    if answers.sixel:
        found.append("sixel")
    return tuple(dict.fromkeys((*found, "half", "off")))


def _has_placeholders(version: str) -> bool:
    """Whether XTVERSION names a terminal with Unicode placeholders: kitty >= 0.28, Ghostty."""
    name = version.lower()
    if name.startswith("ghostty"):
        return True
    numbers = re.match(r"kitty\((\d+)\.(\d+)(?:\.(\d+))?", name)
    return numbers is not None and tuple(int(number or 0) for number in numbers.groups()) >= MIN_KITTY


def _tmux_passes(tmux: str) -> bool:
    """Whether asking through tmux can have an answer: passthrough is on, and the terminal is one of those or unknown."""
    parts = [*tmux.split("\t"), "", "", ""][:3]
    return parts[2] in ("on", "all", "1", "2") and (not parts[0] or _has_placeholders(parts[0]))
