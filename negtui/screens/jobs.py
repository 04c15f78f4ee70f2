"""Screen 5: the queue and its order, what stands still and why, what is over, and the log of one job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Static

from daemon.protocol.commands import Cancel, Command, Pause, Prioritise, Resume
from daemon.protocol.events import JobRow
from negtui import wording
from negtui.keys import bindings
from negtui.output import clean
from negtui.screens.base import NegtuiScreen
from negtui.view import ENDED, View
from negtui.widgets.filter_line import FilterLine
from negtui.widgets.job_table import JobTable, in_order, priority_before, priority_behind
from negtui.widgets.log_pane import LogPane

EMPTY = "No jobs. A session's acts are started on screens 1 to 4."
NO_JOB = "There is no job here to do that to."


class JobsScreen(NegtuiScreen):
    """Acts on the marked jobs, else on the one under the cursor."""

    SCOPE = "jobs"
    TITLE = "Jobs"
    CSS_PATH = "jobs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("jobs")]

    def __init__(self) -> None:
        super().__init__()
        self.only_open = False
        self.filter = ""

    def compose_body(self) -> ComposeResult:
        with Vertical(id="queue"):
            yield JobTable(id="job-table")
            yield Static(EMPTY, id="no-jobs", markup=False)
        with Vertical(id="job"):
            yield Static(id="job-words", markup=False)
            yield Static(id="log-words", markup=False)
            yield LogPane(id="log")
        yield FilterLine(id="filter")

    @property
    def table(self) -> JobTable:
        return self.query_one(JobTable)

    def on_mount(self) -> None:
        self.table.focus()
        for name in ("is_following", "level"):
            self.watch(self.query_one(LogPane), name, self._show_log_words, init=False)

    def show(self, view: View, changed: frozenset[str]) -> None:
        if "progress" in changed and "jobs" not in changed:
            self.table.show_progress(view.progress)
        if "jobs" in changed:
            rows = [row for row in in_order(list(view.jobs.values())) if self._is_wanted(row)]
            self.table.show(rows, view.progress)
            self.table.note = ", ".join([*(["only open"] if self.only_open else []), *([f"with {self.filter!r}"] if self.filter else [])])
            self.query_one("#no-jobs", Static).update(self._nothing(view))
            self.set_class(not rows, "-empty")
        if changed & {"jobs", "lines"}:
            self._show_job(view)

    def _is_wanted(self, row: JobRow) -> bool:
        words = f"{wording.title(row)} {row.id} {row.state}".lower()
        return not (self.only_open and row.state in ENDED) and self.filter.lower() in words

    def _nothing(self, view: View) -> str:
        return "No job is like that: esc clears the filter, o shows all." if view.jobs else EMPTY

    def _show_job(self, view: View) -> None:
        row = self.table.chosen
        if row is not None:
            self.negtui.bridge.remember(row.id)
        self.query_one("#job-words", Static).update(Text(clean("\n".join(job_words(row, view))) if row else ""))
        self.query_one(LogPane).show(view.lines.get(row.id, []) if row else [])
        self._show_log_words()

    def _show_log_words(self) -> None:
        self.query_one("#log-words", Static).update(Text(f"Log: {self.query_one(LogPane).words}", no_wrap=True, overflow="ellipsis"))

    def on_job_table_moved(self) -> None:
        self._show_job(self.view)

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        if message.owner == "log":
            self.query_one(LogPane).filter = message.text
            self._show_log_words()
        else:
            self.filter = message.text
            self.show(self.view, frozenset({"jobs"}))

    def on_log_pane_filter_asked(self) -> None:
        self.query_one(FilterLine).open_for("log", self.query_one(LogPane).filter)

    def on_log_pane_full_asked(self) -> None:
        self.toggle_class("-log")

    def go_back(self) -> bool:
        """Back from the whole log; then no filter; then no marks."""
        if self.has_class("-log"):
            self.remove_class("-log")
            self.table.focus()
        elif self.focused is self.query_one(LogPane):
            self.query_one(LogPane).filter = ""
            self.table.focus()
        elif self.filter:
            self.filter = ""
        elif self.table.marked:
            self.table.marked.clear()
            self.table.refresh()
        else:
            return False
        self.show(self.view, frozenset({"jobs"}))
        return True

    def action_up(self) -> None:
        self.table.move(-1)

    def action_down(self) -> None:
        self.table.move(1)

    def action_page_up(self) -> None:
        self.table.move(2 - self.table.size.height)

    def action_page_down(self) -> None:
        self.table.move(self.table.size.height - 2)

    def action_top(self) -> None:
        self.table.move(-len(self.table.rows))

    def action_bottom(self) -> None:
        self.table.move(len(self.table.rows))

    def action_mark(self) -> None:
        self.table.mark()

    def action_pause(self) -> None:
        self._ask_each(lambda row: Pause(job_id=row.id))

    def action_resume(self) -> None:
        self._ask_each(lambda row: Resume(job_id=row.id))

    def action_cancel(self) -> None:
        rows = [row for row in self.table.acted_on if row.state not in ENDED]
        if not rows:
            self.negtui.say("There is nothing to cancel: it is over." if self.table.acted_on else NO_JOB)
            return

        async def cancel() -> None:
            names = wording.title(rows[0]) if len(rows) == 1 else f"{len(rows)} jobs"
            if await self.negtui.confirm(f"Cancel {names}? What is made stays."):
                for row in rows:
                    await self.negtui.ask(Cancel(job_id=row.id))

        self.run_worker(cancel(), group="confirm", exclusive=True)

    def action_priority(self, change: int) -> None:
        self._ask_each(lambda row: Prioritise(job_id=row.id, priority=max(-100, min(100, row.priority + change))))

    def action_earlier(self) -> None:
        self._reorder(-1)

    def action_later(self) -> None:
        self._reorder(1)

    def action_log(self) -> None:
        self.toggle_class("-log")
        (self.query_one(LogPane) if self.has_class("-log") else self.table).focus()

    def action_filter(self) -> None:
        self.query_one(FilterLine).open_for("job-table", self.filter)

    def action_only_open(self) -> None:
        self.only_open = not self.only_open
        self.show(self.view, frozenset({"jobs"}))

    def action_copy(self) -> None:
        if self.table.chosen is None:
            self.negtui.say(NO_JOB)
            return
        self.app.copy_to_clipboard(self.table.chosen.id)
        self.negtui.say(f"Copied {self.table.chosen.id}")

    def _reorder(self, way: int) -> None:
        """One place nearer to the front of the queue (-1) or further from it (1)."""
        row, rows = self.table.chosen, [row for row in in_order(list(self.view.jobs.values())) if row.state == "queued"]
        at = next((number for number, one in enumerate(rows) if row is not None and one.id == row.id), None)
        if row is None or at is None:
            self.negtui.say("Only queued jobs have a place in the queue.")
        elif 0 <= at + way < len(rows):
            other = rows[at + way]
            priority = priority_before(row, other) if way < 0 else priority_behind(row, other)
            self.negtui.run_ask(Prioritise(job_id=row.id, priority=priority))

    def _ask_each(self, command: Callable[[JobRow], Command]) -> None:
        """About the jobs that are acted on now, wherever the cursor goes meanwhile."""
        commands = [command(row) for row in self.table.acted_on]
        if not commands:
            self.negtui.say(NO_JOB)

        async def ask() -> None:
            for one in commands:
                await self.negtui.ask(one)

        self.run_worker(ask(), group="asking")


def job_words(row: JobRow, view: View) -> list[str]:
    """What a person wants to know of one job: what it is, why it stands still, what it waits for."""
    words = [f"{wording.title(row)}  job {row.id}  made {datetime.fromtimestamp(row.created):%Y-%m-%d %H:%M}"]
    if row.state in ("blocked", "failed", "paused") or row.reason:
        words.append(wording.state(row))
    if row.state == "queued":
        waiting = [view.jobs[other] for other in row.after if other in view.jobs and view.jobs[other].state != "done"]
        words += [f"waits for {wording.title(other)}, which is {other.state}" for other in waiting]
    if row.timings:
        words.append("  ".join(f"{phase} {seconds:.1f} s" for phase, seconds in sorted(row.timings.items(), key=lambda item: -item[1])[:5]))
    return words
