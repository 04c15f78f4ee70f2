"""What is worth a toast: jobs that end, fail or stand still, workers that are lost. Pure."""

from __future__ import annotations

from daemon.protocol.commands import Snapshot
from daemon.protocol.events import AnyEvent, JobRow, JobStateChanged, WorkerChanged
from negtui import wording
from negtui.output import clean, duration
from negtui.view import View

_SEVERITY = {"done": "information", "cancelled": "information", "paused": "information", "blocked": "warning", "failed": "error"}


def notice(view: View, event: AnyEvent | Snapshot) -> tuple[str, str] | None:
    """(words, severity) of an event that is about to be applied to `view`; None: nothing to say."""
    if isinstance(event, JobStateChanged) and event.job.state in _SEVERITY:
        known = view.jobs.get(event.job.id)
        if known is None or known.state == event.job.state:
            return None
        return clean(_end(event.job)), _SEVERITY[event.job.state]
    if isinstance(event, WorkerChanged) and event.state in ("lost", "sick"):
        return clean(f"Worker {event.worker} is {event.state}{f': {event.message}' if event.message else '.'}"), "error"
    return None


def _end(row: JobRow) -> str:
    if row.state == "done" and row.started and row.finished:
        return f"{wording.title(row)}: done in {duration(max(row.finished - row.started, 0.0))}"
    return f"{wording.title(row)}: {wording.state(row)}"
