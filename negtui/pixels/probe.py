"""Asks the terminal once, before Textual starts, what it can draw. Knows the questions and the answers, not what is chosen by them.

All questions go out together with DA1 last: terminals answer in order and every one answers DA1, so its answer means that no other
comes. Sources: kitty's graphics protocol, "Querying support and available transmission mediums"; XTerm control sequences (CSI 16 t,
XTVERSION, XTSMGRAPHICS); https://github.com/tmux/tmux/wiki/FAQ (passthrough).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import termios
import time
import tty
from dataclasses import dataclass, field

from negtui.pixels.base import CellSize, through_tmux

ANSWER_SECONDS = 2.0
"""How long the slowest link may take."""
TMUX_SECONDS = 1.0
"""How much longer the terminal around tmux may take: tmux answers DA1 itself, at once."""
QUIET_SECONDS = 0.02

KITTY_ID = 31
KITTY_QUERY = b"\x1b_Gi=%d,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\" % KITTY_ID
CELL_QUERY = b"\x1b[16t"
VERSION_QUERY = b"\x1b[>0q"
SIXEL_QUERY = b"\x1b[?1;1;0S\x1b[?2;1;0S"
DA1_QUERY = b"\x1b[c"

_PATTERNS = {
    "kitty": re.compile(rb"\x1b_Gi=%d[^;\x1b]*;([^\x1b]*)\x1b\\" % KITTY_ID),
    "cell": re.compile(rb"\x1b\[6;(\d+);(\d+)t"),
    "version": re.compile(rb"\x1bP>\|([^\x1b\x07]*)(?:\x1b\\|\x07)"),
    "sixel_colours": re.compile(rb"\x1b\[\?1;0;(\d+)S"),
    "sixel_max": re.compile(rb"\x1b\[\?2;0;(\d+);(\d+)S"),
    "da1": re.compile(rb"\x1b\[\?([\d;]*)c"),
}


@dataclass(frozen=True)
class Answers:
    """What a terminal answered; `seconds` tells after how long, by the name of the answer."""

    kitty: bool = False
    cell: CellSize | None = None
    version: str = ""
    """As XTVERSION tells it, e.g. `kitty(0.41.1)`."""
    sixel: bool = False
    sixel_colours: int = 0
    sixel_max: tuple[int, int] = (0, 0)
    answered: bool = False
    """Whether DA1 came: a terminal is there."""
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: bytes = b""


def parse(content: bytes, seconds: dict[str, float] | None = None) -> Answers:
    """The answers in what was read; anything else (typed keys) is passed over."""
    found = {name: pattern.search(content) for name, pattern in _PATTERNS.items()}
    cell, version, da1 = found["cell"], found["version"], found["da1"]
    colours, size, kitty = found["sixel_colours"], found["sixel_max"], found["kitty"]
    return Answers(
        kitty=kitty is not None and kitty[1].startswith(b"OK"),
        cell=CellSize(int(cell[2]), int(cell[1])) if cell and int(cell[1]) and int(cell[2]) else None,
        version=version[1].decode("utf-8", "replace") if version else "",
        sixel=da1 is not None and b"4" in da1[1].split(b";")[1:],
        sixel_colours=int(colours[1]) if colours else 0,
        sixel_max=(int(size[1]), int(size[2])) if size else (0, 0),
        answered=da1 is not None,
        seconds=seconds or {},
        bytes=content,
    )


def probe(read_fd: int, write_fd: int, *, in_tmux: bool = False, passthrough: bool = False, seconds: float = ANSWER_SECONDS) -> Answers:
    """Ask the terminal on these descriptors and read until it has answered, at most `seconds`; nothing of it is left to be read as keys.

    `passthrough`: tmux lets the terminal around it be asked. Raises nothing: a descriptor that is no terminal has no answers.
    """
    try:
        before = termios.tcgetattr(read_fd)
    except termios.error:
        return Answers()
    try:
        tty.setraw(read_fd, termios.TCSANOW)
        kitty = b"" if in_tmux and not passthrough else through_tmux(KITTY_QUERY) if in_tmux else KITTY_QUERY
        os.write(write_fd, kitty + CELL_QUERY + VERSION_QUERY + SIXEL_QUERY + DA1_QUERY)
        answers = _read(read_fd, seconds, waits_for_kitty=in_tmux and passthrough)
        if answers.cell is None:
            answers = _with_window_size(answers, write_fd)
        return answers
    except OSError:
        return Answers()
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(read_fd, termios.TCSAFLUSH, before)


def _read(descriptor: int, seconds: float, *, waits_for_kitty: bool) -> Answers:
    begun = time.monotonic()
    content = bytearray()
    times: dict[str, float] = {}

    def has_all() -> bool:
        return "da1" in times and not (waits_for_kitty and "kitty" not in times)

    deadline = begun + seconds
    while not has_all():
        if not _read_into(content, descriptor, deadline - time.monotonic()):
            break
        now = time.monotonic()
        for name, pattern in _PATTERNS.items():
            if name not in times and pattern.search(content):
                times[name] = now - begun
                if name == "da1" and waits_for_kitty:
                    deadline = min(deadline, now + TMUX_SECONDS)
    while _read_into(content, descriptor, QUIET_SECONDS):
        pass
    return parse(bytes(content), times)


def _read_into(content: bytearray, descriptor: int, seconds: float) -> bool:
    """Append what comes within `seconds`; False where nothing does."""
    if not select.select([descriptor], [], [], max(0.0, seconds))[0]:
        return False
    piece = os.read(descriptor, 65_536)
    content += piece
    return bool(piece)


def _with_window_size(answers: Answers, descriptor: int) -> Answers:
    """The size of a cell by the window's (TIOCGWINSZ), where the terminal tells it only so."""
    with contextlib.suppress(OSError):
        rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8)))
        if rows and columns and width >= columns and height >= rows:
            return Answers(**{**answers.__dict__, "cell": CellSize(width // columns, height // rows)})
    return answers
