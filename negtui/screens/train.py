"""Screen 3: the options of a training, its curves, its samples and its log; started, steered and stopped by keys.

Which runs there are and what they told is the view's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from daemon.protocol.events import JobRow
from daemon.protocol.training_spec import TrainingSpec
from negtui.ascii import AsciiOnly
from negtui.charts import AXIS, EMPTY, Cell
from negtui.keys import bindings
from negtui.lean_compositor import LeanCompositor
from negtui.screens.options import OptionsScreen, judge
from negtui.trainings import curves_by_metric, num_steps, run_words, runs_of, side, with_older
from negtui.view import View
from negtui.widgets.cells import cells
from negtui.widgets.curve_grid import CurveGrid
from negtui.widgets.filter_line import FilterLine
from negtui.widgets.log_pane import LogPane
from negtui.widgets.loss_chart import Run
from negtui.widgets.sample_strip import HERE, Lines, SampleStrip
from negtui.widgets.spec_form import SpecForm
from negtui.widgets.text_form import TextForm

PANES = ("options", "curves", "samples", "log")
OVERLAYS = (0, 1, 3)
ONE_PANE_WIDTH, ONE_PANE_HEIGHT = 100, 30


class TrainScreen(OptionsScreen):
    """Acts on the app's current session and on one of its runs: the newest, unless another was chosen."""

    SCOPE = "train"
    TITLE = "Train"
    CSS_PATH = "train.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("train")]

    def __init__(self) -> None:
        super().__init__()
        self._compositor = LeanCompositor()
        self.run_id: str | None = None
        self._is_pinned = False
        self._num_older = 0
        self._pane = "options"
        self._is_alone = False

    def compose_body(self) -> ComposeResult:
        ascii_only = any(isinstance(one, AsciiOnly) for one in self.app.get_line_filters())
        yield Lines(id="run")
        yield Lines(id="tabs")
        with Horizontal(id="panes"):
            yield SpecForm(TrainingSpec, judge, id="options")
            with Vertical(id="right"):
                yield CurveGrid(ascii_only=ascii_only, id="curves")
                with Horizontal(id="low"):
                    yield SampleStrip(id="samples")
                    yield LogPane(id="log")
        yield TextForm(id="question")
        yield FilterLine(id="filter")

    def on_mount(self) -> None:
        self._show_pane()

    # What is shown.

    def show(self, view: View, changed: frozenset[str]) -> None:
        session = self.session_at_hand
        if session != self.session:
            self.run_id, self._is_pinned = None, False
            self.turn_to(session)
        if changed & {"sessions", "current_session", "connection"} or self.is_stale:
            self.read_soon()
        if changed & {"jobs", "current_session"}:
            self._choose_run(view)
        self._show_run(view, changed)

    def _show_run(self, view: View, changed: frozenset[str]) -> None:
        row = self.row
        if changed & {"jobs", "progress", "current_session", "curves"}:
            words = run_words(view, self.session, row, len(self.overlaid) - 1)
            line = [cell for part in words for cell in cells(part.text, HERE if part.is_loud else EMPTY)]
            self.query_one("#run", Lines).paint([line[: self.size.width]])
        if changed & {"jobs", "curves", "current_session"}:
            told = curves_by_metric(view, self.overlaid)
            runs = {name: [Run(label, curve.steps, curve.values) for label, curve in curves] for name, curves in told.items()}
            self.query_one(CurveGrid).show(runs, num_steps(row))
        if changed & {"samples", "jobs", "current_session"}:
            self.query_one(SampleStrip).show(view.samples.get(row.id, ()) if row else (), side(row))
        if changed & {"lines", "jobs", "current_session"}:
            self.query_one(LogPane).show(view.lines.get(row.id, ()) if row else ())

    @property
    def row(self) -> JobRow | None:
        """The run that is looked at."""
        return self.view.jobs.get(self.run_id) if self.run_id else None

    @property
    def runs(self) -> list[JobRow]:
        """The session's trainings, oldest first."""
        return runs_of(self.view, self.session)

    @property
    def overlaid(self) -> list[JobRow]:
        """The run that is looked at, and the older ones below its curves, newest first."""
        return with_older(self.runs, self.run_id, self._num_older)

    def _choose_run(self, view: View) -> None:
        runs = [row.id for row in self.runs]
        if self._is_pinned and self.run_id in runs:
            return
        newest = runs[-1] if runs else None
        if newest != self.run_id:
            self._look_at(newest)

    def _look_at(self, job_id: str | None) -> None:
        self.run_id = job_id
        self.query_one(CurveGrid).reset()
        self.query_one(SampleStrip).reset()
        for row in self.overlaid:
            self.negtui.bridge.remember(row.id)

    def look_at_newest(self, job_id: str) -> None:
        self._is_pinned = False
        self._look_at(job_id)
        self.refresh_view()

    # Moving about.

    def on_text_form_closed(self, message: TextForm.Closed) -> None:
        message.stop()
        self._focus_pane()

    def action_other_run(self, by: int) -> None:
        runs = [row.id for row in self.runs]
        place = runs.index(self.run_id) + by if self.run_id in runs else -1
        if not 0 <= place < len(runs):
            self.negtui.say(f"There is no {'older' if by < 0 else 'newer'} run of this session.")
        else:
            self._is_pinned = place < len(runs) - 1
            self._look_at(runs[place])
            self.refresh_view()

    def action_overlay(self) -> None:
        if len(self.runs) < 2:
            self.negtui.say("This session has no older run to lay under the curves.")
            return
        self._num_older = OVERLAYS[(OVERLAYS.index(self._num_older) + 1) % len(OVERLAYS)]
        for row in self.overlaid:
            self.negtui.bridge.remember(row.id)
        self.refresh_view()

    def action_link(self) -> None:
        strip = self.query_one(SampleStrip)
        strip.link(not strip.is_linked)
        self.negtui.say("Tiles and charts move together." if strip.is_linked else "Each tile moves by itself.")

    def on_curve_grid_moved(self, message: CurveGrid.Moved) -> None:
        message.stop()
        strip = self.query_one(SampleStrip)
        if strip.is_linked and message.step is not None:
            strip.go_to(message.step)

    def action_pane(self, by: int) -> None:
        self._pane = PANES[(PANES.index(self._pane) + by) % len(PANES)]
        self._show_pane()
        self._focus_pane()

    def on_descendant_focus(self) -> None:
        here = next(
            (name for name in PANES if self.focused is not None and self.query_one(f"#{name}") in self.focused.ancestors_with_self), None
        )
        if here is not None and here != self._pane:
            self._pane = here
            self._show_pane()

    def on_resize(self, event: Any) -> None:
        self.set_class(self._is_alone or event.size.width < ONE_PANE_WIDTH or event.size.height < ONE_PANE_HEIGHT, "-one-pane")
        if self.is_mounted:
            self._show_pane()

    def on_log_pane_filter_asked(self) -> None:
        log = self.query_one(LogPane)
        self.query_one(FilterLine).open_for("log", log.filter)

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        self.query_one(LogPane).filter = message.text

    def on_log_pane_full_asked(self) -> None:
        self._set_alone(not self._is_alone)

    def _set_alone(self, is_alone: bool) -> None:
        """One pane over the whole body, however large the terminal is; or back."""
        self._is_alone = is_alone
        self.set_class(is_alone or self._is_small, "-one-pane")

    @property
    def _is_small(self) -> bool:
        return self.size.width < ONE_PANE_WIDTH or self.size.height < ONE_PANE_HEIGHT

    def go_back(self) -> bool:
        parts: list[SpecForm | CurveGrid | SampleStrip] = [self.query_one(SpecForm), self.query_one(CurveGrid), self.query_one(SampleStrip)]
        if any(part.back() for part in sorted(parts, key=lambda part: part.id != self._pane)):
            return True
        was_alone = self._is_alone
        self._set_alone(False)
        return was_alone

    def _show_pane(self) -> None:
        for name in PANES:
            self.set_class(name == self._pane, f"-on-{name}")
        tabs: list[Cell] = []
        for name in PANES:
            tabs += cells(f"[{name}] ", HERE) if name == self._pane else cells(f" {name}  ", AXIS)
        self.query_one("#tabs", Lines).paint([tabs])

    def _focus_pane(self) -> None:
        pane = self.query_one(f"#{self._pane}")
        (self.query_one(SpecForm).rows if isinstance(pane, SpecForm) else pane).focus()
