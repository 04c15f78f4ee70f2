"""A widget of character cells that sends only what changed: each painting is compared to the last, row by row.

Textual writes whole segments, so the rows are cut exactly where a change begins and ends. Knows nothing of what is painted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from negtui.charts import Cell, changed_spans

Rows = list[list[Cell]]


class CellWidget(Widget):
    """Subclasses override `style_of` and call `paint`. Cells are one column wide; shorter rows are filled with blanks."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self._rows: Rows = []
        self._cuts: dict[int, tuple[int, int]] = {}
        self.num_cells_sent = 0
        """Cells that were asked to be written again so far."""

    def paint(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Show these rows; only what differs from the last ones is written."""
        fresh = [list(row) for row in rows]
        spans = changed_spans(self._rows, fresh)
        self._rows = fresh
        self._cuts = {y: (x, x + width) for y, x, width in spans}
        self.num_cells_sent += sum(width for _, _, width in spans)
        if spans:
            self.refresh(*(Region(x, y, width, 1) for y, x, width in spans))

    @property
    def text(self) -> str:
        """What is painted, as lines of text."""
        return "\n".join("".join(character for character, _ in row).rstrip() for row in self._rows)

    def style_of(self, owner: int) -> Style:
        """The style of the cells of one owner."""
        return Style()

    def render_line(self, y: int) -> Strip:
        background = self.rich_style
        row = self._rows[y] if y < len(self._rows) else []
        cuts = self._cuts.get(y, ())
        segments: list[Segment] = []
        start = 0
        for x in range(1, len(row) + 1):
            if x == len(row) or row[x][1] != row[start][1] or x in cuts:
                text = "".join(character for character, _ in row[start:x])
                segments.append(Segment(text, background + self.style_of(row[start][1])))
                start = x
        return Strip(segments, len(row)).adjust_cell_length(self.size.width, background)


def cells(text: str, owner: int) -> list[Cell]:
    """A text as cells of one owner."""
    return [(character, owner) for character in text]
