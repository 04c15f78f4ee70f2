"""A sixel encoder of our own: Pillow quantises, whole rows of bytes become bit planes at once. Pure: pictures in, bytes out.

A picture is cut into bands of whole cell rows, each a sixel picture by itself: text may go out between two, and where a part of the
picture was painted over, only its bands are sent again. Source: DEC STD 070 and VT330/VT340 Programmer Reference, chapter 14.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from PIL import Image

from negtui.pixels.base import CellSize
from negtui.pixels.payload import flatten

BAND_BYTES = 40_000
"""About how large a band gets: few enough bytes for one write, bands few enough that their palettes do not count."""
SSH_COLOURS = 64

_REPEATS = re.compile(rb"(.)\1{3,}", re.DOTALL)
_TO_CHARACTERS = bytes(min(value + 63, 255) for value in range(256))


class Band(NamedTuple):
    """Rows `top` to `top + rows` of cells, as one sixel picture."""

    top: int
    rows: int
    content: bytes


def bands(image: Image.Image, columns: int, rows: int, cell: CellSize, *, colours: int = 256) -> list[Band]:
    """The picture stretched over `columns` x `rows` cells, from top to bottom."""
    size = columns * cell.width, rows * cell.height
    small = flatten(image).resize(size, Image.Resampling.LANCZOS)
    indexed = small.quantize(max(2, min(colours, 256)), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    found: list[Band] = []
    top, step = 0, 1
    while top < rows:
        number = min(step, rows - top)
        content = encode(indexed.crop((0, top * cell.height, size[0], (top + number) * cell.height)))
        found.append(Band(top, number, content))
        top += number
        step = max(1, min(2 * step, BAND_BYTES * number // len(content)))
    return found


def encode(image: Image.Image) -> bytes:
    """A palette picture (mode P) as one sixel sequence; what is below its last row stays as it was (P2 = 1)."""
    width, height = image.size
    pixels = image.tobytes()
    palette = image.getpalette("RGB") or []
    parts = [b'\x1bP0;1;0q"1;1;%d;%d' % (width, height)]
    for index in sorted(set(pixels)):
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * index : 3 * index + 3])
        parts.append(b"#%d;2;%d;%d;%d" % (index, red, green, blue))
    for top in range(0, height, 6):
        parts.append(_six_rows([pixels[row * width : (row + 1) * width] for row in range(top, min(top + 6, height))], width))
    return b"".join(parts) + b"\x1b\\"


def _six_rows(rows: list[bytes], width: int) -> bytes:
    parts = []
    for index in sorted(set().union(*rows)):
        planes = 0
        for bit, row in enumerate(rows):
            if index in row:
                planes |= int.from_bytes(row.translate(_plane(index, bit)), "big")
        line = planes.to_bytes(width, "big").rstrip(b"\0").translate(_TO_CHARACTERS)
        parts.append(b"#%d%b" % (index, _REPEATS.sub(_repeat, line)))
    return b"$".join(parts) + b"-"


@lru_cache(maxsize=256 * 6)
def _plane(index: int, bit: int) -> bytes:
    """A translation of palette indices: `index` to the bit of its row, all others to 0."""
    table = bytearray(256)
    table[index] = 1 << bit
    return bytes(table)


def _repeat(match: re.Match[bytes]) -> bytes:
    return b"!%d%b" % (match.end() - match.start(), match[1])
