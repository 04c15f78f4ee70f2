"""Screen 4: arms x prompts x seeds as pictures; a block full screen, flicked through in place, zoomed, as differences; figures beside.

What is looked at is `negtui.comparing.Looking`. Knows the contract, no sockets.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Static

from daemon.protocol.commands import ComparisonAnswer, ReadComparison, ReadSweep, SweepAnswer
from daemon.protocol.events import JobRow
from daemon.protocol.specs import CompareJob
from negtui import comparing, wording
from negtui.acts import start_acts
from negtui.comparing import Looking
from negtui.keys import bindings
from negtui.output import clean, quantity
from negtui.screens.base import NO_SESSION
from negtui.screens.beside import beside
from negtui.screens.blocks import picture
from negtui.screens.figures import FiguresScreen
from negtui.screens.reporting import ReportingScreen
from negtui.screens.sweeps import SweepsScreen
from negtui.view import ALL, View
from negtui.voting import Voting, default_voter
from negtui.widgets.arm_grid import ArmGrid, ArmRow, BlockView
from negtui.widgets.text_form import Line, TextForm

NOTHING = "This session has no comparison yet. r paints it: every prompt and seed by every arm. It needs the adapter of screen 3."


class CompareScreen(FiguresScreen, ReportingScreen):
    """Modes: the grid, a block (`-block`) with its arms side by side, in place, or as differences; figures (`-effects`)."""

    SCOPE = "compare"
    TITLE = "Compare"
    CSS_PATH = "compare.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("compare")]

    def __init__(self) -> None:
        super().__init__()
        self._is_live = False

    def compose_body(self) -> ComposeResult:
        yield Static(id="compare-heading", markup=False)
        with Horizontal(id="compare-main"):
            yield ArmGrid(id="compare-grid")
            yield BlockView(id="compare-block")
            with VerticalScroll(id="compare-effects", can_focus=False):
                yield Static(id="compare-figures", markup=False)
        yield Static(NOTHING, id="compare-empty", markup=False)
        yield Static(id="compare-caption", markup=False)
        yield TextForm(id="compare-form")

    @property
    def names(self) -> list[str]:
        """The comparisons of the session: finished ones, then the one that is painted."""
        view, session = self.view, self.looking.session
        row = view.sessions.get(session)
        told = [name for owner, name in view.comparisons if owner == session]
        running = _running(view, session)
        return list(dict.fromkeys([*(row.comparisons if row else ()), *told, *([_name(running)] if running else [])]))

    # What the daemon tells.

    def show(self, view: View, changed: frozenset[str]) -> None:
        session = self.session_at_hand or ""
        if session != self.looking.session:
            self.looking = Looking(session=session)
            self.remove_class("-block")
        names = self.names
        if names and self.looking.name not in names:
            self._turn_to(names[-1])
        elif self.looking.name and ("comparisons" in changed or changed == ALL):
            self._load_soon()
        elif changed & {"images", "jobs"} and self._is_live:
            self._show_painted()
        self.query_one("#compare-empty", Static).update(NOTHING if session else NO_SESSION)
        self._show_heading()
        self.set_class(not self.looking.every, "-empty")

    def _turn_to(self, name: str) -> None:
        self.looking = Looking(session=self.looking.session, name=name)
        self._load_soon()
        self.show_looking()

    def _load_soon(self) -> None:
        row = self.view.sessions.get(self.looking.session)
        is_saved = (self.looking.session, self.looking.name) in self.view.comparisons
        self._is_live = not is_saved and (row is None or self.looking.name not in row.comparisons)
        if self._is_live:
            self._show_painted()
        else:
            beside(self, partial(self._load, self.looking.session, self.looking.name), "load")

    def _show_painted(self) -> None:
        """As far as it is painted."""
        row = _running(self.view, self.looking.session)
        answer = comparing.painted(self.view.images.get(row.id, ()), self.looking.session, self.looking.name) if row else None
        if answer is not None:
            self._take(answer, anew=True)

    async def _load(self, session: str, name: str) -> None:
        """The first page is shown at once, the rest behind it."""
        after, anew = 0, True
        while True:
            page = await self.negtui.ask(ReadComparison(session=session, name=name, after_block=after))
            if not isinstance(page, ComparisonAnswer) or (session, name) != (self.looking.session, self.looking.name):
                return
            self._take(page, anew)
            if not page.blocks or page.blocks[-1].index >= page.num_blocks - 1:
                return
            after, anew = page.blocks[-1].index + 1, False

    def _take(self, page: ComparisonAnswer, anew: bool) -> None:
        if anew:
            self.looking.answer, self.looking.every = None, []
        self.looking.take(page)
        self.show_looking()

    # What is shown.

    def show_looking(self) -> None:
        """Everything: grid or block, caption, figures, heading."""
        looking = self.looking
        self.set_class(not looking.every, "-empty")
        rows = [
            ArmRow(f"{block.prompt} (seed {block.seed})", tuple(picture(looking.session, cell) for cell in block.cells))
            for block in looking.blocks
        ]
        self.query_one(ArmGrid).show([arm.name for arm in looking.arms], rows, looking.block, looking.arm)
        self.show_at()

    def show_at(self) -> None:
        """What belongs to the cursor."""
        caption = "\n".join(comparing.caption(self.looking))
        self.query_one("#compare-caption", Static).update(Text(caption, no_wrap=True, overflow="ellipsis"))
        self.show_figures()
        if self.has_class("-block"):
            beside(self, self.show_block, "block")
        self._show_heading()

    def _show_heading(self) -> None:
        looking = self.looking
        text = f"{looking.session}: no comparison" if looking.session else NO_SESSION
        if looking.name:
            names = self.names
            place = f" ({names.index(looking.name) + 1} of {len(names)}, [ ])" if len(names) > 1 and looking.name in names else ""
            text = f"{looking.session}/{looking.name}{place}: {quantity(len(looking.arms), 'arm')}, {quantity(len(looking.every), 'block')}"
            text += f", {len(looking.blocks)} shown: {looking.text}" if looking.text else ""
        row = _running(self.view, looking.session)
        reading = wording.reading(self.view.progress[row.id]) if row is not None and row.id in self.view.progress else None
        text += f". {reading.text}" if reading is not None else "."
        text += f" {looking.answer.verdict}" if looking.answer is not None else ""
        said = Text(" ".join(clean(text).split()), no_wrap=True, overflow="ellipsis")
        heading = self.query_one("#compare-heading", Static)
        if heading.content != said:
            heading.update(said)

    # Keys.

    def go_back(self) -> bool:
        if self.form.is_open:
            self.form.action_close()
        elif self.figures_alone is not None:
            self.action_effects()
        elif self.looking.zoom:
            self.action_zoom(-comparing.MAX_ZOOM)
        elif self.is_difference:
            self.action_difference()
        elif self.has_class("-block"):
            self.leave_block()
        elif self.looking.text:
            self._choose("")
        else:
            return False
        return True

    def action_other(self, by: int) -> None:
        name = comparing.next_name(self.names, self.looking.name, by)
        if name and name != self.looking.name:
            self._turn_to(name)
        elif self.has_block():
            self.negtui.say(f"{self.looking.session} has no other comparison.")

    def action_copy(self) -> None:
        text = comparing.metadata(self.looking)
        if self.has_block() and text:
            self.app.copy_to_clipboard(text)
            self.negtui.say("Copied: prompt, seed and what the picture is.")

    def action_vote(self) -> None:
        looking = self.looking
        if not looking.name or self._is_live:
            self.negtui.say("Votes are asked for on a finished comparison; r starts one.", "warning")
            return
        known = self.negtui.voting
        voter = known.voter if known is not None else default_voter()
        self.negtui.voting = Voting(looking.session, looking.name, voter)
        self.app.switch_screen("vote")

    @work(group="sweeps", exclusive=True)
    async def action_sweeps(self) -> None:
        row = self.view.sessions.get(self.looking.session)
        answers = [await self.negtui.ask(ReadSweep(session=row.name, name=name)) for name in row.sweeps] if row is not None else []
        found = [answer for answer in answers if isinstance(answer, SweepAnswer)]
        if found:
            await self.app.push_screen(SweepsScreen(found))
        elif not answers:
            self.negtui.say("This session has no sweep yet: negtui sweep paints one.", "warning")

    def action_start(self, full: bool) -> None:
        session = self.looking.session
        if session:
            beside(self, partial(self._start, session, full), "start")
        else:
            self.negtui.say(NO_SESSION)

    async def _start(self, session: str, full: bool) -> None:
        what = "on every prompt " if full else ""
        if not await self.negtui.confirm(f"Compare {what}for {session}?"):
            return
        rows = await start_acts(self.negtui.ask, session, ("compare",), full=full)
        if rows:
            self.negtui.say(f"The comparison of {session} is {rows[0].state}.")
        elif rows is not None:
            self.negtui.say(f"{session} has no [comparison] in its session.toml.", "warning")

    async def action_filter(self) -> None:
        await self.form.open("filter", "Only blocks whose prompt has these words", (Line("text", "words", self.looking.text),))

    def on_text_form_changed(self, event: TextForm.Changed) -> None:
        if event.form == "filter":
            self._choose(event.values["text"])

    def on_text_form_submitted(self, event: TextForm.Submitted) -> None:
        if event.form == "save":
            self.save(event.values["folder"])
            return
        self.form.display = False
        self.set_focus(None)

    def on_text_form_closed(self, event: TextForm.Closed) -> None:
        if event.form == "filter":
            self._choose("")
        self.set_focus(None)

    def _choose(self, text: str) -> None:
        self.looking.choose(text)
        self.show_looking()


def _running(view: View, session: str) -> JobRow | None:
    """The comparison of this session that runs."""
    own = (row for row in view.jobs.values() if row.spec.session == session and isinstance(row.spec, CompareJob))
    return next((row for row in own if row.state == "running"), None)


def _name(row: JobRow) -> str:
    return row.spec.comparison.output_name if isinstance(row.spec, CompareJob) else ""
