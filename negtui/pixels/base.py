"""What the parts of pictures agree on: backends, the size of a cell, the choice that was made. Free of Textual and Pillow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

Backend = Literal["kitty", "sixel", "half", "off"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
Colours = Literal["truecolor", "256", "16", "none"]


@dataclass(frozen=True)
class CellSize:
    """Pixels of one character cell."""

    width: int = 10
    height: int = 20


@dataclass(frozen=True)
class Choice:
    """How pictures are drawn on this terminal, and why."""

    backend: Backend = "half"
    why: str = "nothing better is known of this terminal"
    available: tuple[Backend, ...] = ("half", "off")
    """What may be chosen here, the best first."""
    cell: CellSize = field(default_factory=CellSize)
    colours: Colours = "truecolor"
    in_tmux: bool = False
    over_ssh: bool = False
    ascii: bool = False
    """Whether only ASCII characters may be drawn."""
    sixel_colours: int = 256
    sixel_max: tuple[int, int] = (0, 0)
    """Width and height in pixels of the largest sixel picture; 0: not told."""


class Sender(Protocol):
    """The one ordered way to the terminal: pieces go out whole, behind text that waits, each at most about 64 KB."""

    def send(self, pieces: Sequence[bytes], wanted: Callable[[], bool], done: Callable[[bool], None]) -> None:
        """Write `pieces` in order unless `wanted` is false when their turn comes; then `done(all were written)`, from any thread."""


def fit(width: int, height: int, columns: int, rows: int, cell: CellSize) -> tuple[int, int]:
    """The largest (columns, rows) within those given that keep a picture's proportions; at least one cell each."""
    if width <= 0 or height <= 0 or columns <= 0 or rows <= 0:
        return 0, 0
    scale = min(columns * cell.width / width, rows * cell.height / height)
    fitted = round(width * scale / cell.width), round(height * scale / cell.height)
    return max(1, min(columns, fitted[0])), max(1, min(rows, fitted[1]))


def through_tmux(sequence: bytes) -> bytes:
    """An escape sequence that tmux passes on to the terminal it runs in (`allow-passthrough on`)."""
    return b"\x1bPtmux;" + sequence.replace(b"\x1b", b"\x1b\x1b") + b"\x1b\\"
