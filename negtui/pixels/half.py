"""Pictures as text: half-blocks in 16 million, 256 or 16 colours, shades without colour. Works on every terminal. Knows no Textual.

A row is a list of runs: neighbouring cells that look the same are one run, which is what keeps its bytes few.
"""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple, cast

from PIL import Image

from negtui.pixels.base import Colours
from negtui.pixels.payload import flatten

RGB = tuple[int, int, int]
UPPER = "▀"
SHADES = " ░▒▓█"
ASCII_SHADES = " .:-=+*#%@"
LEVELS = (0, 95, 135, 175, 215, 255)
"""Of xterm's colour cube."""
BASIC: tuple[RGB, ...] = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255)),
)
"""xterm's 16 colours."""


class Run(NamedTuple):
    """Cells that look the same: their text, foreground and background (red, green, blue; None: the terminal's own)."""

    text: str
    foreground: RGB | None
    background: RGB | None


def half_rows(image: Image.Image, columns: int, rows: int, colours: Colours, *, ascii: bool = False, coarse: int = 1) -> list[list[Run]]:
    """The rows of a picture of `columns` x `rows` cells. `coarse` n draws blocks of n columns and n / 2 rows: a preview of few bytes."""
    if columns <= 0 or rows <= 0:
        return []
    if colours == "none" or ascii:
        shades = ASCII_SHADES if ascii else SHADES
        return _shades(image, columns, rows, shades)
    size = max(1, columns // coarse), max(1, 2 * rows // coarse)
    small = flatten(image).resize(size, Image.Resampling.BOX).resize((columns, 2 * rows), Image.Resampling.NEAREST)
    pixels = cast("list[RGB]", list(zip(*[iter(quantised(small, colours).tobytes())] * 3, strict=True)))
    return [
        _runs(pixels[2 * row * columns : (2 * row + 1) * columns], pixels[(2 * row + 1) * columns : (2 * row + 2) * columns])
        for row in range(rows)
    ]


def quantised(image: Image.Image, colours: Colours) -> Image.Image:
    """An RGB picture in the colours that the terminal has."""
    if colours == "truecolor":
        return image
    if colours == "256":
        nearest = [min(LEVELS, key=lambda level: abs(level - value)) for value in range(256)]
        return image.point(nearest * 3)
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in BASIC for value in colour])
    return image.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB")


def sgr(run: Run, colours: Colours) -> str:
    """A run as a terminal writes it, without the reset behind it."""
    codes = [_code(run.foreground, 38, colours), _code(run.background, 48, colours)]
    return f"\x1b[{';'.join(code for code in codes if code) or '0'}m{run.text}"


def _code(colour: RGB | None, base: int, colours: Colours) -> str:
    if colour is None:
        return ""
    if colours == "truecolor":
        return f"{base};2;{colour[0]};{colour[1]};{colour[2]}"
    if colours == "256":
        red, green, blue = (LEVELS.index(value) for value in colour)
        return f"{base};5;{16 + 36 * red + 6 * green + blue}"
    index = BASIC.index(colour)
    return str(base - 8 + index if index < 8 else base + 52 + index - 8)


def _runs(upper: list[RGB], lower: list[RGB]) -> list[Run]:
    runs = []
    for (top, bottom), cells in groupby(zip(upper, lower, strict=True)):
        number = sum(1 for _ in cells)
        runs.append(Run(" " * number, None, top) if top == bottom else Run(UPPER * number, top, bottom))
    return runs


def _shades(image: Image.Image, columns: int, rows: int, shades: str) -> list[list[Run]]:
    values = flatten(image).convert("L").resize((columns, rows), Image.Resampling.BOX).tobytes()
    text = "".join(shades[min(value * len(shades) // 256, len(shades) - 1)] for value in values)
    return [[Run(text[row * columns : (row + 1) * columns], None, None)] for row in range(rows)]
