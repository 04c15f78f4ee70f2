"""One metric of one or several runs: a title with the newest value or that under the cursor, the curve, two axes.

Draws when told to; what did not change is not sent again. Knows curves by labels, neither jobs nor the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.style import Style

from negtui.charts import AXIS, CURSOR, EMPTY, Cell, Scale, Trace, Window, fitting, number, plot
from negtui.output import clean
from negtui.widgets.cells import CellWidget, cells
from negtui.widgets.cut import whole_words

GUTTER = 8
TITLE = -4
WEIGHTS = (0.0, 0.6, 0.9, 0.99)
"""What smoothing steps through."""
MAX_RUNS = 4
MOST_AT_ONCE = 200_000
"""Points smoothed in one drawing: a key never waits for a million."""


@dataclass(frozen=True)
class Run:
    """A curve with the name of its run; both lists belong to the view and only grow."""

    label: str
    steps: Sequence[int]
    values: Sequence[float]


class LossChart(CellWidget):
    """A chart of `metric`. `show` what there is, then `draw`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"chart--run-{layer}" for layer in range(MAX_RUNS)),
        "chart--axis",
        "chart--cursor",
        "chart--title",
    }
    DEFAULT_CSS = """
    LossChart { height: 1fr; width: 1fr; }
    LossChart > .chart--run-0 { color: $text-success; }
    LossChart > .chart--run-1 { color: $text-warning; }
    LossChart > .chart--run-2 { color: $text-primary; }
    LossChart > .chart--run-3 { color: $text-error; }
    LossChart > .chart--axis { color: $foreground-muted; }
    LossChart > .chart--cursor { color: $foreground; }
    LossChart > .chart--title { text-style: bold; }
    LossChart.-chosen > .chart--title { text-style: bold reverse; }
    """

    def __init__(self, metric: str, *, ascii_only: bool = False, **named: Any) -> None:
        super().__init__(**named)
        self.metric = metric
        self.ascii_only = ascii_only
        self.is_log = False
        self.weight = 0.0
        self.window = Window(0, 10)
        self.cursor: int | None = None
        self._runs: tuple[Run, ...] = ()
        self._traces: list[Trace] = []
        self._plotted: tuple[Any, list[list[Cell]]] = (None, [])
        self.is_behind = False
        """Whether the last drawing left points for the next one."""

    def show(self, runs: Sequence[Run], window: Window, cursor: int | None = None) -> None:
        """What to draw: the first run lies on top; `cursor` is the step whose values are read out."""
        self._runs = tuple(runs[:MAX_RUNS])
        self.window, self.cursor = window, cursor

    def next_weight(self) -> None:
        self.weight = WEIGHTS[(WEIGHTS.index(self.weight) + 1) % len(WEIGHTS)]

    def draw(self) -> None:
        """Paint what `show` was told last."""
        width, height = self.size.width, self.size.height
        if not width or not height:
            return
        self._take_up()
        rows = [self._title(width)]
        if height >= 4 and width >= GUTTER + 8:
            rows += self._plot(width - GUTTER, height - 2)
        self.paint(rows)

    def on_resize(self) -> None:
        self.draw()

    @property
    def plot_width(self) -> int:
        """Columns of the plot itself."""
        return max(self.size.width - GUTTER, 1)

    def style_of(self, owner: int) -> Style:
        names = {AXIS: "chart--axis", CURSOR: "chart--cursor", TITLE: "chart--title"}
        if owner == EMPTY:
            return Style()
        return self.get_component_rich_style(names.get(owner, f"chart--run-{owner}"), partial=True)

    def _take_up(self) -> None:
        """Bring the traces up to date; one whose lists are others now is made anew."""
        fresh = []
        self.is_behind = False
        for number_, run in enumerate(self._runs):
            trace = self._traces[number_] if number_ < len(self._traces) else None
            if trace is None or trace.steps is not run.steps or trace.weight != self.weight:
                trace = Trace(run.steps, run.values, self.weight)
            self.is_behind |= not trace.update(MOST_AT_ONCE)
            fresh.append(trace)
        self._traces = fresh

    def _title(self, width: int) -> list[Cell]:
        mark = ("> " if self.ascii_only else "▸ ") if self.has_class("-chosen") else "  "
        row = cells(f"{mark}{clean(self.metric)}", TITLE)
        for layer, trace in enumerate(self._traces):
            found = trace.at(self.cursor if self.cursor is not None else 2**62)
            if found is None:
                continue
            step, value, told = found
            text = f"  {number(value)}"
            if self.weight and self.cursor is not None:
                text += f" ({number(told)})"
            if layer == 0 and self.cursor is not None:
                text = f"  at {step}:{text[1:]}"
            row += cells(text, layer)
        modes = [word for word in ("log" if self.is_log else "", f"smooth {self.weight:g}" if self.weight else "") if word]
        return (row + cells(whole_words(["", *modes], width - len(row)), AXIS))[:width]

    def _plot(self, width: int, height: int) -> list[list[Cell]]:
        extents = [extent for trace in self._traces if (extent := trace.extent(self.window)) is not None]
        if not extents:
            rows = [[(" ", EMPTY)] * (GUTTER + width) for _ in range(height + 1)]
            rows[height // 2] = cells(" " * GUTTER + "nothing measured yet"[:width], AXIS)
            return rows
        scale = fitting(min(low for low, _ in extents), max(high for _, high in extents), self.is_log)
        plotted = self._curves(scale, width, height)
        self._mark_cursor(plotted, width)
        labels = {0: scale.high, height - 1: scale.low}
        if height >= 5:
            labels[height // 2] = scale.value(1.0 - (height // 2 + 0.5) / height)
        tick = "|" if self.ascii_only else "┤"
        rows = [cells(f"{number(labels[y]) if y in labels else '':>{GUTTER - 1}}{tick}", AXIS) + row for y, row in enumerate(plotted)]
        return [*rows, self._steps(width)]

    def _curves(self, scale: Scale, width: int, height: int) -> list[list[Cell]]:
        """The curves alone, to be written over; those of the last drawing where nothing but the cursor moved."""
        what = (self.window, scale, width, height, [(trace, len(trace)) for trace in self._traces])
        if self._plotted[0] != what:
            self._plotted = what, plot(self._traces, self.window, scale, width, height, ascii_only=self.ascii_only)
        return [[*row] for row in self._plotted[1]]

    def _mark_cursor(self, rows: list[list[Cell]], width: int) -> None:
        if self.cursor is None or not self.window.first <= self.cursor <= self.window.last:
            return
        x = self.window.column(self.cursor, width)
        for row in rows:
            if row[x][1] == EMPTY:
                row[x] = ("|" if self.ascii_only else "│", CURSOR)

    def _steps(self, width: int) -> list[Cell]:
        """The axis of steps: both ends, and the middle where there is room."""
        first, last = str(self.window.first), str(self.window.last)
        middle = str((self.window.first + self.window.last) // 2)
        line = [" "] * width
        for at, text in ((0, first), (width // 2 - len(middle) // 2, middle if width >= 36 else ""), (max(width - len(last), 0), last)):
            line[at : at + len(text)] = text
        return cells(" " * GUTTER + "".join(line)[:width], AXIS)
