"""What of a picture stands in the cells of a widget: kitty's placeholders, cells left free for sixel pixels, or half-blocks.

Knows neither where the widget is nor how pictures come to the terminal.
"""

from __future__ import annotations

import functools
from collections.abc import Collection

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from negtui.pixels import kitty
from negtui.pixels.half import Run
from negtui.pixels.sixel import Band
from negtui.pixels.store import Sent


class Drawn:
    """A picture in `place` (columns, rows): as `sent`, else as `bands` unless something covers them, else as half-blocks in `rows`."""

    def __init__(self) -> None:
        self.place = (0, 0)
        self.sent: Sent | None = None
        self.bands: list[Band] = []
        self.is_covered = False
        self.rows: list[list[Run]] = []

    @property
    def backend(self) -> str:
        """`kitty`, `sixel`, `half`, or empty: nothing is drawn."""
        if self.sent is not None:
            return "kitty"
        return "sixel" if self.bands and not self.is_covered else "half" if self.rows else ""

    def hold(self, sent: Sent) -> None:
        """Show what the terminal has, in the place of half-blocks; it is not dropped there meanwhile."""
        sent.num_users += 1
        self.sent, self.rows = sent, []

    def take_bands(self, bands: list[Band]) -> None:
        """Leave the cells free for these; half-blocks are kept for when something covers them."""
        self.bands, self.is_covered = bands, False

    def drop(self) -> None:
        """Show nothing; what the terminal has may go."""
        if self.sent is not None:
            self.sent.num_users -= 1
        self.sent, self.rows, self.bands = None, [], []

    def bands_at(self, rows: Collection[int]) -> list[Band]:
        """The bands that reach into these rows of the picture."""
        return [band for band in self.bands if any(band.top <= row < band.top + band.rows for row in rows)]

    def segments(self, row: int, background: Style) -> list[Segment]:
        """The cells of one row of the picture."""
        columns = self.place[0]
        if self.sent is not None:
            style = Style.from_color(Color.from_rgb(*kitty.id_colour(self.sent.id)), background.bgcolor)
            return [Segment(_placeholders(*self.place)[row], style)]
        if self.bands and not self.is_covered:
            return [Segment(" " * columns, background)]
        if row < len(self.rows):
            return [Segment(run.text, _style(run, background)) for run in self.rows[row]]
        return [Segment(" " * columns, background)]


@functools.lru_cache(maxsize=32)
def _placeholders(columns: int, rows: int) -> list[str]:
    return kitty.placeholder_rows(columns, rows)


def _style(run: Run, background: Style) -> Style:
    foreground = None if run.foreground is None else Color.from_rgb(*run.foreground)
    behind = background.bgcolor if run.background is None else Color.from_rgb(*run.background)
    return Style.from_color(foreground if foreground is not None or run.background is not None else background.color, behind)
