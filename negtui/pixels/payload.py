"""A picture as the PNG that is sent to a terminal: as large as its cells, and over SSH as small as a budget says. Writes nothing."""

from __future__ import annotations

import io

from PIL import Image

from negtui.pixels.base import CellSize

VIEW_BYTES = 320_000
"""The most base64 for one large picture over SSH."""
BYTES_PER_CELL = 65
"""The most base64 per cell where pictures are small and many."""
LARGE_CELLS = 1000
"""From how many cells on a picture counts as large."""

CHEAP_SHARE = 0.35
"""All 256 colours are kept where the picture takes no more than this share of its budget."""
_LADDER = (
    (1.0, 256, CHEAP_SHARE),
    (1.0, 160, 1.0),
    (1.0, 96, 1.0),
    (0.75, 160, 1.0),
    (0.6, 160, 1.0),
    (0.5, 256, 1.0),
    (0.5, 64, 1.0),
    (0.25, 64, 1.0),
)
"""What is tried in turn: share of the size, number of colours, share of the budget that it may take."""


def budget(columns: int, rows: int) -> int:
    """Bytes of base64 that a picture of so many cells may take over SSH."""
    cells = columns * rows
    return min(VIEW_BYTES, cells * BYTES_PER_CELL * (3 if cells >= LARGE_CELLS else 1))


def resized(image: Image.Image, columns: int, rows: int, cell: CellSize, *, share: float = 1.0) -> Image.Image:
    """The picture in RGB, as large as its cells; never enlarged, the terminal does that."""
    size = max(1, round(columns * cell.width * share)), max(1, round(rows * cell.height * share))
    flat = flatten(image)
    if flat.width <= size[0] and flat.height <= size[1]:
        return flat
    return flat.resize(size, Image.Resampling.LANCZOS)


def flatten(image: Image.Image) -> Image.Image:
    """RGB on black where something is transparent."""
    if image.mode == "RGB":
        return image
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", with_alpha.size, (0, 0, 0, 255)), with_alpha).convert("RGB")
    return image.convert("RGB")


def local_png(image: Image.Image, columns: int, rows: int, cell: CellSize) -> bytes:
    """Every colour, little compression: for a terminal on this machine."""
    return _png(resized(image, columns, rows, cell), compress_level=1)


def small_png(image: Image.Image, columns: int, rows: int, cell: CellSize) -> bytes:
    """The best of a ladder of sizes and palettes whose base64 keeps to the budget; the smallest where none does."""
    most = budget(columns, rows) * 3 // 4
    png = b""
    for share, colours, part in _LADDER:
        small = resized(image, columns, rows, cell, share=share)
        png = _png(small.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE), compress_level=9)
        if len(png) <= most * part:
            break
    return png


def _png(image: Image.Image, compress_level: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=compress_level)
    return buffer.getvalue()
