"""The contact sheet: a labelled PNG of all cells, columns are arms and rows are blocks. Pillow only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from daemon.pictures import encode_png, open_rgb

ROWS_PER_SHEET = 16
MAX_CELL_PIXELS = 320
MAX_SHEET_PIXELS = 1920
MIN_CELL_PIXELS = 128
_MARGIN, _GAP = 24, 10
_INK, _FAINT, _PAPER, _RULE = (24, 26, 30), (96, 100, 108), (255, 255, 255), (222, 225, 230)


@dataclass(frozen=True)
class Column:
    """An arm: its name, and what it is in a few words."""

    name: str
    title: str


@dataclass(frozen=True)
class Row:
    """A block: its caption, a picture per column, and a note under each."""

    caption: str
    picture_paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def draw_sheets(heading: str, columns: Sequence[Column], rows: Sequence[Row], comment: str = "") -> Iterator[bytes]:
    """Yield PNGs of at most `ROWS_PER_SHEET` rows each; all pictures are shown at one size.

    What is written on a sheet is in its text chunks too (PNG's own `Title`, `Description`), with `comment` as `Comment`.
    """
    pages = [rows[begin : begin + ROWS_PER_SHEET] for begin in range(0, len(rows), ROWS_PER_SHEET)]
    size = cell_size(_size_of(rows[0].picture_paths[0]), len(columns))
    titles = [f"{heading}, sheet {number} of {len(pages)}" if len(pages) > 1 else heading for number in range(1, len(pages) + 1)]
    for title, page in zip(titles, pages, strict=True):
        yield encode_png(_draw(title, columns, page, size), _sheet_text(title, columns, page, comment))


def cell_size(size: tuple[int, int], num_columns: int) -> tuple[int, int]:
    """Width and height of a cell: small pictures enlarged by a whole factor, large ones reduced, until a row fits the sheet."""
    width, height = size
    limit = max(MIN_CELL_PIXELS, min(MAX_CELL_PIXELS, MAX_SHEET_PIXELS // num_columns - _GAP))
    longer = max(width, height)
    if longer <= limit:
        return width * (limit // longer), height * (limit // longer)
    return max(1, round(width * limit / longer)), max(1, round(height * limit / longer))


def wrap(text: str, width: float, max_lines: int, measure: Callable[[str], float]) -> list[str]:
    """Lines of at most `width`, as `measure` gives it; what does not fit in `max_lines` ends in an ellipsis."""
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < max_lines:
        line = _fitting(rest, width, measure)
        rest = rest[len(line) :].lstrip()
        lines.append(line.rstrip())
    if rest:
        last = lines[-1]
        while last and measure(f"{last}…") > width:
            last = last[:-1]
        lines[-1] = f"{last.rstrip()}…"
    return lines


def _fitting(text: str, width: float, measure: Callable[[str], float]) -> str:
    """The longest beginning that fits, at a word's end where it has one; never empty."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(text[:middle]) <= width else (low, middle - 1)
    if low < len(text) and not text[low].isspace() and " " in text[:low]:
        low = text.rindex(" ", 0, low) + 1
    return text[:low]


def _sheet_text(title: str, columns: Sequence[Column], rows: Sequence[Row], comment: str) -> dict[str, str]:
    description = [*(f"{column.name}: {column.title}" for column in columns), *(row.caption for row in rows)]
    text = {"Title": title, "Description": "\n".join(description), "Software": "negtui", "Comment": comment}
    return {name: words for name, words in text.items() if words}


class _Page:
    """A sheet as it is drawn from top to bottom; with no `image` it only measures its height."""

    def __init__(self, width: int, image: Image.Image | None) -> None:
        self.width, self.image, self.y = width, image, _MARGIN
        self._draw = ImageDraw.Draw(image) if image is not None else None

    def text(self, x: int, y: int, width: float, text: str, size: int, ink: tuple[int, int, int], max_lines: int) -> int:
        """Write wrapped text; returns its height."""
        font = _font(size)
        lines = wrap(text, width, max_lines, font.getlength)
        for number, line in enumerate(lines):
            if self._draw is not None:
                self._draw.text((x, y + number * _line_height(size)), line, fill=ink, font=font)
        return len(lines) * _line_height(size)

    def rule(self) -> None:
        if self._draw is not None:
            self._draw.line((_MARGIN, self.y, self.width - _MARGIN, self.y), fill=_RULE)
        self.y += _GAP

    def picture(self, x: int, path: Path, size: tuple[int, int]) -> None:
        if self.image is not None:
            self.image.paste(_scaled(path, size), (x, self.y))


def _draw(title: str, columns: Sequence[Column], rows: Sequence[Row], size: tuple[int, int]) -> Image.Image:
    width = 2 * _MARGIN + len(columns) * size[0] + (len(columns) - 1) * _GAP
    sketch = _Page(width, None)
    _compose(sketch, title, columns, rows, size)
    page = _Page(width, Image.new("RGB", (width, sketch.y + _MARGIN - _GAP), _PAPER))
    _compose(page, title, columns, rows, size)
    assert page.image is not None
    return page.image


def _compose(page: _Page, title: str, columns: Sequence[Column], rows: Sequence[Row], size: tuple[int, int]) -> None:
    inner = page.width - 2 * _MARGIN
    lefts = [_MARGIN + number * (size[0] + _GAP) for number in range(len(columns))]
    page.y += page.text(_MARGIN, page.y, inner, title, 22, _INK, 2) + _GAP
    heights = [page.text(x, page.y, size[0], column.name, 18, _INK, 1) for x, column in zip(lefts, columns, strict=True)]
    page.y += max(heights)
    page.y += max(page.text(x, page.y, size[0], column.title, 13, _FAINT, 3) for x, column in zip(lefts, columns, strict=True)) + _GAP
    for row in rows:
        page.rule()
        page.y += page.text(_MARGIN, page.y, inner, row.caption, 15, _INK, 3) + 4
        for x, path in zip(lefts, row.picture_paths, strict=True):
            page.picture(x, path, size)
        page.y += size[1] + 4
        notes = [page.text(x, page.y, size[0], note, 13, _FAINT, 2) for x, note in zip(lefts, row.notes, strict=False)]
        page.y += max(notes, default=0) + _GAP


def _scaled(path: Path, size: tuple[int, int]) -> Image.Image:
    picture = open_rgb(path)
    # Enlarging must not smooth away the flaws that are looked for.
    enlarges = size[0] > picture.width
    return picture.resize(size, Image.Resampling.NEAREST if enlarges else Image.Resampling.LANCZOS)


def _size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _line_height(size: int) -> int:
    return round(size * 1.35)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans where the machine has it (it knows more scripts), else the font Pillow brings."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)
