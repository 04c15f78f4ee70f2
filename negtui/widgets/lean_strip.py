"""A line of a picture written in few bytes: colours only where they change, one reset at the end. Tells when it is written.

Textual's own strips reset every segment (42 bytes a cell of half-blocks). Knows no picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product

from rich.color import Color, ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from negtui.pixels.half import LEVELS

Codes = tuple[str, ...]
_CUBE: dict[tuple[int, ...], int] = {colour: 16 + number for number, colour in enumerate(product(LEVELS, repeat=3))}


class LeanStrip(Strip):
    """As a `Strip`; `on_render` is called each time a part of it goes to the terminal.

    `short`: colours of xterm's cube go out by their number, which says the same in fewer bytes. Not for kitty's placeholders, whose
    colour is the number of a picture.
    """

    __slots__ = ("_on_render", "_short")

    def __init__(
        self,
        segments: Iterable[Segment],
        cell_length: int | None = None,
        on_render: Callable[[], None] | None = None,
        *,
        short: bool = False,
    ) -> None:
        super().__init__(segments, cell_length)
        self._on_render = on_render
        self._short = short

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        return [self._as_lean(strip) for strip in super().divide(cuts)]

    def crop(self, start: int, end: int | None = None) -> Strip:
        return self._as_lean(super().crop(start, end))

    def render(self, console: Console) -> str:
        if self._on_render is not None:
            self._on_render()
        if self._render_cache is None:
            self._render_cache = lean(self._segments, console._color_system or ColorSystem.TRUECOLOR, short=self._short)
        return self._render_cache

    def _as_lean(self, strip: Strip) -> LeanStrip:
        return strip if isinstance(strip, LeanStrip) else LeanStrip(strip._segments, strip.cell_length, self._on_render, short=self._short)


def lean(segments: Iterable[Segment], system: ColorSystem, *, short: bool = False) -> str:
    """The segments as a terminal reads them. Of their styles only the colours count."""
    parts = []
    last: tuple[Codes, Codes] = ((), ())
    for text, style, _ in segments:
        codes = _codes(style, system, short)
        changed = [code for old, new in zip(last, codes, strict=True) if old != new for code in new]
        if any(old and not new for old, new in zip(last, codes, strict=True)):
            changed = ["0", *codes[0], *codes[1]]
        parts.append(f"\x1b[{';'.join(changed)}m{text}" if changed else text)
        last = codes
    return "".join([*parts, "\x1b[0m"]) if any(last) else "".join(parts)


def _codes(style: Style | None, system: ColorSystem, short: bool) -> tuple[Codes, Codes]:
    if style is None:
        return (), ()
    return _code(style.color, system, True, short), _code(style.bgcolor, system, False, short)


def _code(colour: Color | None, system: ColorSystem, foreground: bool, short: bool) -> Codes:
    if colour is None:
        return ()
    if short and system == ColorSystem.TRUECOLOR and colour.triplet is not None:
        number = _CUBE.get(tuple(colour.triplet))
        if number is not None:
            return ("38" if foreground else "48", "5", str(number))
    return tuple(colour.downgrade(system).get_ansi_codes(foreground))
