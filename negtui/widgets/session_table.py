"""The experiments on disk as a table: what each has, what runs. Knows rows and jobs, no daemon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.binding import BindingType
from textual.widgets import DataTable

from daemon.protocol.commands import SessionRow
from daemon.protocol.events import JobRow, StepProgress
from negtui import wording
from negtui.keys import bindings
from negtui.output import clean
from negtui.view import OPEN

WIDE = 100
"""Columns from which the adapters' and comparisons' names are shown rather than their number."""
NAMES_WIDTH = 28
"""Cells for the names of adapters, and for those of comparisons."""


class SessionTable(DataTable[Text], inherit_bindings=False):
    """Rows keyed by session name. Keeps the cursor on its session when rows come and go."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("table")]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, header_height=1)
        self._shown: list[tuple[str, tuple[str, ...]]] | None = None
        self._is_wide: bool | None = None

    @property
    def session(self) -> str | None:
        """The session under the cursor."""
        if not self._shown or not 0 <= self.cursor_row < len(self._shown):
            return None
        return self._shown[self.cursor_row][0]

    def show(
        self,
        rows: Iterable[SessionRow],
        jobs: Mapping[str, JobRow],
        progress: Mapping[str, StepProgress],
        current: str | None,
        text: str = "",
    ) -> None:
        """Draw what differs from what is shown; `text` filters by name and description."""
        is_wide, at = self.app.size.width >= WIDE, self.session or current
        active = active_by_session(jobs)
        wanted = [
            (row.name, cells(row, running(active.get(row.name, ()), progress), row.name == current, is_wide))
            for row in sorted(rows, key=lambda row: row.name)
            if text.lower() in f"{row.name} {row.description}".lower()
        ]
        if is_wide != self._is_wide:
            self._is_wide, self._shown = is_wide, None
            self.clear(columns=True)
            for heading in ("", "session", "images", "adapters", "compared", "votes", "jobs", ""):
                self.add_column(heading)
        if self._shown is not None and [name for name, _ in wanted] == [name for name, _ in self._shown]:
            self._update(wanted)
        elif wanted != self._shown:
            self._rebuild(wanted, at)
        self._shown = wanted

    def _update(self, wanted: list[tuple[str, tuple[str, ...]]]) -> None:
        assert self._shown is not None
        for number, ((_, new), (_, old)) in enumerate(zip(wanted, self._shown, strict=True)):
            for column, (text, was) in enumerate(zip(new, old, strict=True)):
                if text != was:
                    self.update_cell_at((number, column), Text(text), update_width=True)  # type: ignore[arg-type]

    def _rebuild(self, wanted: list[tuple[str, tuple[str, ...]]], at: str | None) -> None:
        self.clear()
        for name, texts in wanted:
            self.add_row(*(Text(text) for text in texts), key=name)
        self.go_to(at, [name for name, _ in wanted])

    def go_to(self, name: str | None, names: list[str] | None = None) -> None:
        """Put the cursor on a session; nothing where it is not shown."""
        names = [shown for shown, _ in self._shown or ()] if names is None else names
        if name in names:
            self.move_cursor(row=names.index(name), animate=False)


def cells(row: SessionRow, running_now: str, is_current: bool, is_wide: bool) -> tuple[str, ...]:
    """A row's texts: cursor mark, name, counts or names, what runs, its fault or description; safe to print."""
    adapters, comparisons = (_names(names) if is_wide else str(len(names) or "") for names in (row.adapters, row.comparisons))
    last = f"! {row.error}" if row.error else row.description
    texts = (row.name, str(row.num_images or ""), adapters, comparisons, str(row.num_votes or ""), running_now, last)
    return (">" if is_current else " ", *(" ".join(clean(text).split()) for text in texts))


def _names(names: Sequence[str]) -> str:
    """`branches, scales +5`: as many as there is room for, so that what stands behind is seen."""
    for number in range(len(names), 1, -1):
        text = ", ".join(names[:number]) + (f" +{len(names) - number}" if number < len(names) else "")
        if cell_len(text) <= NAMES_WIDTH:
            return text
    return names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "") if names else ""


def active_by_session(jobs: Mapping[str, JobRow]) -> dict[str, list[JobRow]]:
    """The jobs that are not over, oldest first, by session: each job is looked at once, however many sessions there are."""
    found: dict[str, list[JobRow]] = {}
    for row in sorted((row for row in jobs.values() if row.state in OPEN), key=lambda row: row.created):
        found.setdefault(row.spec.session, []).append(row)
    return found


def running(rows: Iterable[JobRow], progress: Mapping[str, StepProgress]) -> str:
    """What a session's unfinished jobs do: `train 42 %, compare queued`; empty: nothing."""
    return ", ".join(f"{wording.act(row.spec)} {_share(row, progress) or row.state}" for row in rows)


def _share(row: JobRow, progress: Mapping[str, StepProgress]) -> str:
    if row.state != "running" or row.id not in progress:
        return ""
    reading = wording.reading(progress[row.id])
    return f"{100 * reading.fraction:.0f} %" if reading is not None and reading.fraction is not None else ""
