"""The daemon as seen from here: what screens show. Pure; knows neither sockets nor Textual.

`apply` is the only writer. Screens read, and are told by name which fields changed.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, fields
from typing import Literal, TypeVar

import msgspec

from daemon.protocol.commands import SessionRow, Sessions, Snapshot
from daemon.protocol.events import (
    AdapterSaved,
    AnyEvent,
    CellStopped,
    CheckpointSaved,
    ComparisonSaved,
    Gauges,
    ImageSaved,
    ImagesFolder,
    ImagesMarked,
    JobAccepted,
    JobRow,
    JobStateChanged,
    Logged,
    Mark,
    MetricsRecorded,
    Residents,
    RoundClosed,
    RoundOpened,
    SamplesSaved,
    SessionChanged,
    StepProgress,
    SweepSaved,
    VoteCast,
    VoteUndone,
    WorkerChanged,
)
from negtui import wording

MAX_LINES = 2000
MAX_GAUGES = 600
ENDED = ("done", "failed", "cancelled")
OPEN = ("queued", "running", "pausing", "paused", "blocked")

T = TypeVar("T")


class Connection(msgspec.Struct, frozen=True):
    """How the daemon is reached. `since` is on the clock that `apply` is given, Unix seconds."""

    state: Literal["connecting", "connected", "lost"]
    since: float
    endpoint: str = ""
    reason: str = ""
    """Why it is not there, in words."""
    version: str = ""
    protocol: int = 0


class Curve(msgspec.Struct):
    """One metric of one job: `values[i]` was recorded at `steps[i]`; steps rise."""

    steps: list[int] = []
    values: list[float] = []


class Line(msgspec.Struct, frozen=True):
    """A line of a job's log: a `Logged`, or another event in words."""

    time: float
    level: Literal["info", "warning", "error", "event"]
    text: str


@dataclass
class View:
    """What is known of the daemon. Dicts by job id unless said otherwise; what a job told is there once its history was read."""

    connection: Connection = field(default_factory=lambda: Connection("connecting", 0.0))
    jobs: dict[str, JobRow] = field(default_factory=dict)
    progress: dict[str, StepProgress] = field(default_factory=dict)
    """The latest of each job that runs; gone when it stands or ends."""
    logs: dict[str, list[Logged]] = field(default_factory=dict)
    lines: dict[str, list[Line]] = field(default_factory=dict)
    """As `logs`, with times, and with the other events of the job in words."""
    sessions: dict[str, SessionRow] = field(default_factory=dict)
    """By name."""
    workers: dict[str, WorkerChanged] = field(default_factory=dict)
    """By the worker's name."""
    gauges: dict[str, list[Gauges]] = field(default_factory=dict)
    """By device, the last 600."""
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)
    """By job id, then metric."""
    images: dict[str, list[ImageSaved]] = field(default_factory=dict)
    samples: dict[str, list[SamplesSaved]] = field(default_factory=dict)
    checkpoints: dict[str, list[CheckpointSaved]] = field(default_factory=dict)
    comparisons: dict[tuple[str, str], ComparisonSaved] = field(default_factory=dict)
    """By (session, name)."""
    sweeps: dict[tuple[str, str], SweepSaved] = field(default_factory=dict)
    """By (session, name)."""
    adapters: dict[tuple[str, str], AdapterSaved] = field(default_factory=dict)
    """By (session, name)."""
    residents: dict[str, Residents] = field(default_factory=dict)
    """By worker: what lies in its memory."""
    marks: dict[tuple[str, ImagesFolder], dict[str, Mark]] = field(default_factory=dict)
    """By (session, folder), then image id: marks told since this view began; whatever was listed before gives way to them."""
    votes: dict[tuple[str, str], RoundOpened | VoteCast | VoteUndone | RoundClosed] = field(default_factory=dict)
    """By (session, comparison): what happened last to its rounds of votes."""
    edits: dict[str, int] = field(default_factory=dict)
    """By session: how often its folder changed since this view began."""


ALL = frozenset(one.name for one in fields(View))
"""The names of all fields: everything may have changed."""
TOLD = ("logs", "lines", "curves", "images", "samples", "checkpoints")
"""Fields that are lists of what one job told."""


def apply(view: View, event: AnyEvent | Snapshot | Sessions | Connection, now: float) -> frozenset[str]:
    """Bring `view` up to date by one event; returns the names of the fields that changed. `now`: when it happened, Unix seconds."""
    match event:
        case Connection():
            view.connection = event
            return frozenset({"connection"})
        case Snapshot():
            return _replace(view, event)
        case Sessions():
            view.sessions = {row.name: row for row in event.sessions}
            # A session that is gone may be made again under its name: nothing of it is there then.
            for told in (view.comparisons, view.sweeps, view.adapters):
                for key in [key for key in told if key[0] not in view.sessions]:
                    del told[key]
            return frozenset({"sessions"})
        case JobAccepted() | JobStateChanged():
            return move(view, event.job) | _tell(view, event.job.id, event, now)
        case StepProgress():
            row = view.jobs.get(event.job_id)
            # The last progress of a job may come after the news of its end.
            if row is None or row.state not in ("running", "pausing"):
                return frozenset()
            view.progress[event.job_id] = event
            return frozenset({"progress"})
        case Gauges():
            _append(view.gauges, event.device, event, MAX_GAUGES)
            return frozenset({"gauges"})
        case WorkerChanged():
            view.workers[event.worker] = event
            return frozenset({"workers"})
        case Residents():
            view.residents[event.worker] = event
            return frozenset({"residents"})
        case ImagesMarked():
            view.marks.setdefault((event.session, event.folder), {}).update({mark.id: mark for mark in event.marks})
            return frozenset({"marks"})
        case RoundOpened() | VoteCast() | VoteUndone() | RoundClosed():
            view.votes[event.session, event.comparison] = event
            return frozenset({"votes"})
        case SessionChanged():
            view.edits[event.session] = view.edits.get(event.session, 0) + 1
            return frozenset({"edits"})
    return _record(view, event, now)


def recall(history: View, event: AnyEvent, when: float) -> None:
    """Take a stored event of one job into a view of its own: what it told, not where it stands now."""
    match event:
        case JobAccepted() | JobStateChanged():
            _tell(history, event.job.id, event, when)
        case _:
            _record(history, event, when)


def adopt(view: View, job_id: str, history: View) -> frozenset[str]:
    """Replace what is known of a job by its whole history. Adapters and comparisons of later jobs stay."""
    for name in TOLD:
        getattr(view, name).pop(job_id, None)
        getattr(view, name).update(getattr(history, name))
    view.comparisons = {**history.comparisons, **view.comparisons}
    view.sweeps = {**history.sweeps, **view.sweeps}
    view.adapters = {**history.adapters, **view.adapters}
    return frozenset({*TOLD, "comparisons", "sweeps", "adapters"})


def running(view: View) -> JobRow | None:
    """The job at work, if one is."""
    return next((row for row in view.jobs.values() if row.state in ("running", "pausing")), None)


def _replace(view: View, snapshot: Snapshot) -> frozenset[str]:
    """Another start: nothing of what was known counts."""
    fresh = View(connection=view.connection, gauges=view.gauges)
    fresh.jobs = {row.id: row for row in snapshot.jobs}
    fresh.sessions = {row.name: row for row in snapshot.sessions}
    # The names of states are checked by the daemon that told them.
    fresh.workers = {name: WorkerChanged(worker=name, state=state) for name, state in snapshot.workers.items()}  # type: ignore[arg-type]
    for one in fields(View):
        setattr(view, one.name, getattr(fresh, one.name))
    return ALL


def move(view: View, row: JobRow) -> frozenset[str]:
    """Where a job stands now; its log is not told, since that is said once, by the event."""
    view.jobs[row.id] = row
    if row.state not in ("running", "pausing") and view.progress.pop(row.id, None) is not None:
        return frozenset({"jobs", "progress"})
    return frozenset({"jobs"})


def _record(view: View, event: AnyEvent, now: float) -> frozenset[str]:
    """What a job told."""
    match event:
        case Logged():
            _append(view.logs, event.job_id, event, MAX_LINES)
            _append(view.lines, event.job_id, Line(now, event.level, event.message), MAX_LINES)
            return frozenset({"logs", "lines"})
        case MetricsRecorded():
            return _extend(view, event) | (frozenset() if "loss" in event.values else _tell(view, event.job_id, event, now))
        case ImageSaved():
            view.images.setdefault(event.job_id, []).append(event)
            return frozenset({"images"}) | _tell(view, event.job_id, event, now)
        case SamplesSaved():
            view.samples.setdefault(event.job_id, []).append(event)
            return frozenset({"samples"}) | _tell(view, event.job_id, event, now)
        case CheckpointSaved():
            view.checkpoints.setdefault(event.job_id, []).append(event)
            return frozenset({"checkpoints"}) | _tell(view, event.job_id, event, now)
        case ComparisonSaved():
            view.comparisons[event.session, event.name] = event
            return frozenset({"comparisons"}) | _tell(view, event.job_id, event, now)
        case CellStopped():
            return _tell(view, event.job_id, event, now)
        case SweepSaved():
            view.sweeps[event.session, event.name] = event
            return frozenset({"sweeps"}) | _tell(view, event.job_id, event, now)
        case AdapterSaved():
            view.adapters[event.session, event.name] = event
            return frozenset({"adapters"}) | _tell(view, event.job_id, event, now)
    return frozenset()


def _extend(view: View, event: MetricsRecorded) -> frozenset[str]:
    curves = view.curves.setdefault(event.job_id, {})
    for name, values in event.values.items():
        curve = curves.setdefault(name, Curve())
        if not curve.steps or (event.steps and event.steps[0] > curve.steps[-1]):
            curve.steps.extend(event.steps)
            curve.values.extend(values)
            continue
        for step, value in zip(event.steps, values, strict=False):
            at = bisect_left(curve.steps, step)
            if at == len(curve.steps) or curve.steps[at] != step:
                curve.steps.insert(at, step)
                curve.values.insert(at, value)
    return frozenset({"curves"})


def _tell(view: View, job_id: str, event: AnyEvent, now: float) -> frozenset[str]:
    """The event in words, as a line of its job's log."""
    text = wording.told(event)
    if not text:
        return frozenset()
    _append(view.lines, job_id, Line(now, "event", text), MAX_LINES)
    return frozenset({"lines"})


def _append(lists: dict[str, list[T]], key: str, value: T, most: int) -> None:
    found = lists.setdefault(key, [])
    found.append(value)
    if len(found) > most:
        del found[: len(found) - most]
