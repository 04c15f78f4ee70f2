"""All metrics of a run as charts side by side, over the same steps and with one cursor; drawn at most four times a second.

Knows curves by labels; which run is looked at is the screen's business.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.timer import Timer

from negtui.charts import Window, round_up
from negtui.keys import bindings
from negtui.widgets.loss_chart import LossChart, Run

DRAW_SECONDS = 0.25
FIRST = ("loss", "held_out_loss", "learning_rate", "grad_norm", "separation", "leak")
"""These have their places even before they are measured; all others follow by name."""
SMOOTHED = ("loss", "grad_norm")
MIN_WIDTH, MIN_HEIGHT = 34, 7


class CurveGrid(Container, can_focus=True):
    """`show` takes the runs by metric; arrows move the cursor and the choice of a chart."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("chart")]
    DEFAULT_CSS = """
    CurveGrid { layout: grid; grid-gutter: 0 1; overflow: hidden; height: 1fr; }
    CurveGrid > LossChart.-away { display: none; }
    """

    class Moved(Message):
        """The cursor stands at another step; None: nowhere."""

        def __init__(self, step: int | None) -> None:
            super().__init__()
            self.step = step

    def __init__(self, *, ascii_only: bool = False, **named: Any) -> None:
        super().__init__(**named)
        self.ascii_only = ascii_only
        self.cursor: int | None = None
        self.chosen = "loss"
        self.is_full = False
        self.num_draws = 0
        self._zoom: Window | None = None
        self._num_steps = 0
        self._runs: Mapping[str, Sequence[Run]] = {}
        self._charts: dict[str, LossChart] = {}
        self._drawn = -DRAW_SECONDS
        self._timer: Timer | None = None

    def on_mount(self) -> None:
        self._add(FIRST)

    def show(self, runs: Mapping[str, Sequence[Run]], num_steps: int) -> None:
        """The runs of each metric, the one looked at first. `num_steps`: where the axis ends, 0 where nobody knows."""
        self._runs, self._num_steps = runs, num_steps
        missing = [name for name in sorted(runs) if name not in self._charts and name not in FIRST]
        if missing and self.is_mounted:
            self._add(missing)
        self.draw_soon()

    def reset(self) -> None:
        """Another run: no zoom, no cursor."""
        self._zoom = self.cursor = None

    @property
    def whole(self) -> Window:
        """All steps there are or will be."""
        last = max((run.steps[-1] for runs in self._runs.values() for run in runs if run.steps), default=0)
        return Window(0, self._num_steps if last <= self._num_steps and self._num_steps else round_up(last))

    @property
    def window(self) -> Window:
        """The steps shown."""
        return self._zoom or self.whole

    def draw_soon(self) -> None:
        """Draw now, or as soon as a quarter of a second has passed since the last time."""
        if self._timer is not None:
            return
        wait = self._drawn + DRAW_SECONDS - time.monotonic()
        if wait <= 0:
            self.draw()
        else:
            self._timer = self.set_timer(wait, self.draw)

    def draw(self) -> None:
        """Draw the charts in sight."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if not self.is_mounted or not self.size.width or not self.display:
            return
        self._drawn = time.monotonic()
        self.num_draws += 1
        window = self.window
        for name, chart in self._charts.items():
            chart.show(self._runs.get(name, ()), window, self.cursor)
            if not chart.has_class("-away"):
                chart.draw()
        if any(chart.is_behind for chart in self._charts.values()):
            self.draw_soon()

    def on_resize(self) -> None:
        self._arrange()
        self.call_after_refresh(self.draw)

    def on_show(self) -> None:
        self._arrange()
        self.call_after_refresh(self.draw)

    def action_move(self, by: int) -> None:
        """Move the cursor by so many columns; the first key puts it onto the newest step."""
        window = self.window
        if self.cursor is None:
            run = next(iter(self._runs.get(self.chosen, ())), None)
            step = run.steps[-1] if run and run.steps else window.last
        else:
            columns = self._charts[self.chosen].plot_width if self.chosen in self._charts else 80
            step = self.cursor + by * max(1, round(window.length / columns))
        self._set_cursor(max(self.whole.first, min(self.whole.last, step)))

    def action_end(self, which: int) -> None:
        """The cursor to the first (-1) or the newest (1) step."""
        run = next(iter(self._runs.get(self.chosen, ())), None)
        if run and run.steps:
            self._set_cursor(run.steps[-1 if which > 0 else 0])

    def action_choose(self, by: int) -> None:
        """Another chart."""
        names = list(self._charts)
        self.chosen = names[(names.index(self.chosen) + by) % len(names)]
        self._arrange()
        self.call_after_refresh(self.draw)

    def action_zoom(self, way: int) -> None:
        """Closer (1) or farther (-1) around the cursor, or the newest end; 0: everything."""
        around = self.cursor if self.cursor is not None else self.window.last
        zoomed = self.window.zoomed(0.5 if way > 0 else 2.0, around, self.whole) if way else self.whole
        self._zoom = None if zoomed == self.whole else zoomed
        self.draw()

    def action_log(self) -> None:
        """The chosen chart logarithmic, or not."""
        chart = self._charts[self.chosen]
        chart.is_log = not chart.is_log
        self.draw()

    def action_smooth(self) -> None:
        """The chosen chart smoother; after the smoothest, not at all."""
        self._charts[self.chosen].next_weight()
        self.draw()

    def action_full(self) -> None:
        """The chosen chart alone, or all."""
        self.is_full = not self.is_full
        self._arrange()
        self.call_after_refresh(self.draw)

    def back(self) -> bool:
        """One level back: full size, cursor, zoom. False where there is none left."""
        if self.is_full:
            self.action_full()
        elif self.cursor is not None:
            self._set_cursor(None)
        elif self._zoom is not None:
            self.action_zoom(0)
        else:
            return False
        return True

    def chart(self, metric: str) -> LossChart:
        """The chart of a metric; `KeyError` where there is none."""
        return self._charts[metric]

    def _set_cursor(self, step: int | None) -> None:
        self.cursor = step
        if step is not None and self._zoom is not None and not self._zoom.first <= step <= self._zoom.last:
            self._zoom = self._zoom.moved(step - (self._zoom.first + self._zoom.length // 2), self.whole)
        self.draw()
        self.post_message(self.Moved(step))

    def _add(self, names: Sequence[str]) -> None:
        for name in names:
            chart = LossChart(name, ascii_only=self.ascii_only)
            chart.weight = 0.9 if name in SMOOTHED else 0.0
            self._charts[name] = chart
            self.mount(chart)
        self._arrange()
        self.call_after_refresh(self.draw)

    def _arrange(self) -> None:
        """As many charts as fit, the chosen one among them; the others are a page away."""
        names = list(self._charts)
        columns = 1 if self.is_full else max(1, min(self.size.width // MIN_WIDTH, 3))
        rows = 1 if self.is_full else max(1, min(self.size.height // MIN_HEIGHT, -(-len(names) // columns)))
        self.styles.grid_size_columns = columns
        self.styles.grid_size_rows = rows
        page = names.index(self.chosen) // (columns * rows)
        for place, name in enumerate(names):
            chart = self._charts[name]
            chart.set_class(place // (columns * rows) != page, "-away")
            chart.set_class(name == self.chosen and self.has_focus, "-chosen")

    def on_focus(self) -> None:
        self._arrange()
        self.draw()

    def on_blur(self) -> None:
        self._arrange()
        self.draw()
