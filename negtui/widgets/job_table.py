"""The queue and what became of it: a row a job, the next to run first. Knows the contract's rows, not how to ask for anything."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from daemon.protocol.events import JobRow, StepProgress
from negtui import wording
from negtui.output import clean, duration
from negtui.view import ENDED
from negtui.widgets.cut import cut

SIGNS = {
    "queued": "..", "running": ">>", "pausing": "||", "paused": "||", "blocked": "!!", "done": "ok", "failed": "XX", "cancelled": "--",
}  # fmt: skip
_RANK = {"running": 0, "pausing": 0, "queued": 1, "blocked": 2, "paused": 3}


def in_order(rows: Sequence[JobRow]) -> list[JobRow]:
    """What runs, what will (highest priority, then oldest), what stands still, and what is over, newest first."""
    waiting = sorted((row for row in rows if row.state not in ENDED), key=lambda row: (_RANK[row.state], -row.priority, row.created))
    over = sorted((row for row in rows if row.state in ENDED), key=lambda row: row.finished or row.created, reverse=True)
    return waiting + over


def priority_before(row: JobRow, other: JobRow) -> int:
    """The priority that lets `row` run before `other`; -100..100."""
    return min(100, max(-100, other.priority if row.created < other.created else other.priority + 1))


def priority_behind(row: JobRow, other: JobRow) -> int:
    """The priority that lets `row` run behind `other`; -100..100."""
    return min(100, max(-100, other.priority if row.created > other.created else other.priority - 1))


def job_cells(
    row: JobRow, progress: StepProgress | None, now: float, names: Mapping[str, str] | None = None
) -> tuple[str, str, str, str, str]:
    """State, what, priority, how long, how far or why. `names`: of the jobs that it waits for, by id."""
    if row.started and row.state in (*ENDED, "running", "pausing"):
        took = duration(max(0.0, (row.finished if row.state in ENDED and row.finished else now) - row.started))
    else:
        took = f"{datetime.fromtimestamp(row.created):%d %b %H:%M}"
    reading = wording.reading(progress) if progress is not None else None
    said = reading.text if reading is not None else wording.state(row).partition(": ")[2]
    names = names or {}
    if row.state == "queued" and any(other in names for other in row.after):
        said = f"waits for {', '.join(names[other] for other in row.after if other in names)}"
    return f"{SIGNS[row.state]} {row.state}", clean(wording.title(row)), str(row.priority or ""), took, clean(said)


class JobTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Posts `Moved` when another job is under the cursor. Rows are drawn as they are seen: a thousand cost as little as ten."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"job--{state}" for state in SIGNS}
    DEFAULT_CSS = """
    JobTable { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }
    JobTable > .job--running { color: $text-success; }
    JobTable > .job--queued { color: $text-primary; }
    JobTable > .job--pausing, JobTable > .job--paused { color: $text-warning; }
    JobTable > .job--blocked, JobTable > .job--failed { color: $text-error; }
    """
    cursor: reactive[int] = reactive(0)
    note: reactive[str] = reactive("")
    """Which jobs are shown, in the heading; empty: all."""

    class Moved(Message):
        def __init__(self, job_id: str) -> None:
            super().__init__()
            self.job_id = job_id

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: list[JobRow] = []
        self.marked: set[str] = set()
        self._cells: list[tuple[str, ...]] = []

    @property
    def chosen(self) -> JobRow | None:
        """The job under the cursor."""
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    @property
    def acted_on(self) -> list[JobRow]:
        """The marked jobs, else the one under the cursor."""
        found = [row for row in self.rows if row.id in self.marked]
        return found or ([self.chosen] if self.chosen is not None else [])

    def show(self, rows: Sequence[JobRow], progress: dict[str, StepProgress], now: float | None = None) -> None:
        """New rows, in the order given; the cursor stays on its job. Only lines that differ are painted."""
        now = time.time() if now is None else now
        before, old = self.chosen, self._cells
        self.rows = list(rows)
        names = {row.id: wording.title(row) for row in rows if row.state != "done"}
        self._cells = [(row.id, *job_cells(row, progress.get(row.id), now, names)) for row in rows]
        self.virtual_size = Size(0, len(rows) + 1)
        at = next((number for number, row in enumerate(rows) if before is not None and row.id == before.id), self.cursor)
        self.cursor = max(0, min(at, len(rows) - 1))
        if len(old) != len(self._cells):
            self.refresh()
        else:
            for number, (was, now_is) in enumerate(zip(old, self._cells, strict=True)):
                if was != now_is:
                    self._refresh_row(number)
        if self.chosen is not None and (before is None or before.id != self.chosen.id):
            self.post_message(self.Moved(self.chosen.id))

    def show_progress(self, progress: dict[str, StepProgress], now: float | None = None) -> None:
        """How far jobs are, the rows being the same."""
        now = time.time() if now is None else now
        for number, row in enumerate(self.rows):
            if row.id in progress:
                self._cells[number] = (row.id, *job_cells(row, progress[row.id], now))
                self._refresh_row(number)

    def watch_cursor(self, old: int, new: int) -> None:
        self._refresh_row(old)
        self._refresh_row(new)
        self.scroll_to_region(Region(0, max(0, new), 1, 2), animate=False, force=True)

    def move(self, rows: int) -> None:
        """The cursor by so many rows, as far as there are any."""
        self.cursor = max(0, min(self.cursor + rows, len(self.rows) - 1))
        if self.chosen is not None:
            self.post_message(self.Moved(self.chosen.id))

    def mark(self) -> None:
        """Mark the job under the cursor, or unmark it, and go to the next."""
        if self.chosen is not None:
            self.marked ^= {self.chosen.id}
            self._refresh_row(self.cursor)
            self.move(1)

    def on_click(self, event: events.Click) -> None:
        number = event.y + self.scroll_offset.y - 1
        if event.y > 0 and number < len(self.rows):
            self.move(number - self.cursor)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        top = self.scroll_offset.y
        base = self.rich_style
        if y == 0:
            last = f"how far, or why ({clean(self.note)})" if self.note else "how far, or why"
            return Strip([Segment(_line("  ", ("state", "what", "pri", "took / made", last), width), base + Style(bold=True))], width)
        number = y + top - 1
        if number >= len(self._cells):
            return Strip.blank(width, base)
        row = self.rows[number]
        style = base + self.get_component_rich_style(f"job--{row.state}", partial=True)
        if number == self.cursor:
            style += Style(reverse=self.has_focus, bold=True, underline=not self.has_focus)
        sign = "*" if row.id in self.marked else ">" if number == self.cursor else " "
        return Strip([Segment(_line(f"{sign} ", self._cells[number][1:], width), style)], width)

    def _refresh_row(self, number: int) -> None:
        y = number + 1 - self.scroll_offset.y
        if 0 < y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))


WIDTHS = (12, 18, 3, 12)
NARROW = 76
"""Below so many cells priority and duration are left out, so that there is room for why."""


def _line(sign: str, cells: Sequence[str], width: int) -> str:
    """Columns of fixed widths, the last one taking what is left."""
    shown = (0, 1) if width < NARROW else (0, 1, 2, 3)
    fixed = [cut(cells[number], WIDTHS[number]) for number in shown]
    return cut(f"{sign}{' '.join(fixed)} {cells[-1]}", width)
