"""Screen 1: the experiments on disk, what each has and what runs; new, copy, edit, delete, run. Knows the contract, no sockets."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import DataTable, Static

from daemon.protocol.commands import ReadSession, SessionAnswer
from daemon.protocol.specs import SessionSpec, arms_of
from negtui.acts import ACTS, start_acts
from negtui.keys import bindings
from negtui.output import clean, quantity
from negtui.screens.beside import beside
from negtui.screens.editing import EditingScreen
from negtui.view import View
from negtui.widgets.session_table import SessionTable
from negtui.widgets.text_form import Line, TextForm

EMPTY = "There are no sessions yet. n makes one from a template; the template toy runs on any machine within minutes."
SHOWN = frozenset({"sessions", "jobs", "progress", "current_session"})
DETAIL_SECONDS = 0.15


class SessionsScreen(EditingScreen):
    """The table, and below it what the session at the cursor declares."""

    SCOPE = "sessions"
    TITLE = "Sessions"
    CSS_PATH = "sessions.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("sessions")]

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        self._detailed: str | None = None

    def compose_body(self) -> ComposeResult:
        yield SessionTable(id="session-table")
        yield Static(EMPTY, id="session-empty", markup=False)
        yield Static(id="session-detail", markup=False)
        yield TextForm(id="session-form")

    @property
    def table(self) -> SessionTable:
        return self.query_one(SessionTable)

    def show(self, view: View, changed: frozenset[str]) -> None:
        if not changed & SHOWN:
            return
        self.table.show(view.sessions.values(), view.jobs, view.progress, self.negtui.current_session, self._text)
        self.query_one("#session-empty", Static).display = not view.sessions
        if "sessions" in changed:
            self._detail_soon()
        if self.focused is None and not self.form.is_open:
            self.table.focus()

    def on_resize(self, event: events.Resize) -> None:
        """More or fewer words in the columns."""
        self.call_after_refresh(self.show, self.view, SHOWN - {"sessions"})

    def go_back(self) -> bool:
        if self.form.is_open:
            self.form.action_close()
        elif self._text:
            self._filter("")
        else:
            return False
        return True

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if self.table.session != self._detailed:
            self._detail_soon()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        self.action_choose()

    def action_choose(self) -> None:
        session = self.chosen()
        if session is not None:
            self.negtui.current_session = session
            self.show(self.view, SHOWN - {"sessions"})
            self.negtui.say(f"All screens work on {session} now.")

    async def action_filter(self) -> None:
        await self.form.open("filter", "Only sessions with these words", (Line("text", "words", self._text),))

    def action_copy_path(self) -> None:
        folder = self.folder(self.chosen())
        if folder:
            self.app.copy_to_clipboard(folder)
            self.negtui.say(f"Copied: {clean(folder)}")

    def action_run_all(self) -> None:
        self._run(full=False)

    def action_run_full(self) -> None:
        self._run(full=True)

    def _run(self, *, full: bool) -> None:
        session = self.chosen()
        if session is not None:
            beside(self, partial(self._start, session, full), "run", exclusive=False)

    async def _start(self, session: str, full: bool) -> None:
        rows = await start_acts(self.negtui.ask, session, ACTS, full=full)
        if rows is not None:
            queued = f"{session}: {quantity(len(rows), 'job')} queued or under way."
            said = queued if rows else f"{session} declares no acts yet: e edits it."
            self.negtui.say(said)
            self.negtui.current_session = session

    def action_check(self) -> None:
        session = self.chosen()
        if session is not None:
            beside(self, partial(self._detail, session, told=True), "check", exclusive=False)

    async def say_order(self, session: str) -> None:
        await self._detail(session, told=True)

    def on_text_form_changed(self, event: TextForm.Changed) -> None:
        if event.form == "filter":
            self._filter(event.values["text"])

    def on_text_form_closed(self, event: TextForm.Closed) -> None:
        if event.form == "filter":
            self._filter("")
        self.table.focus()

    def _filter(self, text: str) -> None:
        self._text = text
        self.show(self.view, SHOWN)

    def _detail_soon(self) -> None:
        self._detailed = self.table.session
        beside(self, partial(self._detail_later, self._detailed), "detail")

    async def _detail_later(self, session: str | None) -> None:
        await asyncio.sleep(DETAIL_SECONDS)
        if session is not None:
            await self._detail(session, told=False)
        else:
            self.query_one("#session-detail", Static).update("")

    async def _detail(self, session: str, told: bool) -> None:
        """What the session declares. A fault is in its row already, so it is asked about only where the row has none or `told`."""
        row = self.view.sessions.get(session)
        if row is not None and row.error and not told:
            self.query_one("#session-detail", Static).update(Text(clean(f"{session}: {row.error}")))
            return
        answer = await self.negtui.ask(ReadSession(name=session))
        if not isinstance(answer, SessionAnswer):
            return
        if self.table.session == session:
            warnings = [f"warning: {warning}" for warning in answer.warnings]
            self.query_one("#session-detail", Static).update(Text(clean("\n".join([*declared(answer.spec), *warnings]))))
        if told:
            self.negtui.say(f"{session} is in order.")


def declared(spec: SessionSpec) -> list[str]:
    """What a session declares, a line an act."""
    model = spec.model
    parts = [model.base, *([f"refiner {model.refiner}"] if model.refiner else []), *([f"vae {model.vae}"] if model.vae else [])]
    lines = [f"model      {', '.join(parts)}"]
    if spec.synthesis is not None:
        act = spec.synthesis
        number = len(act.keywords) * len(act.weights) * len(act.guidance_scales) * len(act.seeds)
        counts = (
            quantity(len(act.keywords), "keyword"),
            quantity(len(act.weights), "weight"),
            f"{len(act.guidance_scales)} guidance",
            quantity(len(act.seeds), "seed"),
        )
        lines.append(f"synthesise {quantity(number, 'picture')} {act.width}x{act.height}: {', '.join(counts)}")
    if spec.training is not None:
        train = spec.training
        lines.append(f"train      {train.output_name}: {quantity(train.max_train_steps, 'step')} at rank {train.rank}")
    if spec.merging:
        lines.append(f"merge      {', '.join(merging.output_name for merging in spec.merging)}")
    if spec.comparison is not None:
        names = ", ".join(arm.name for arm in arms_of(spec))
        lines.append(f"compare    {spec.comparison.output_name}: {names}")
    return lines
