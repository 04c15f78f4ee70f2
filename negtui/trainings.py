"""Trainings as screen 3 tells them: the runs of a session, their curves by metric, a line of words. Pure: the view in, words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from daemon.protocol.events import JobRow
from daemon.protocol.specs import TrainJob
from negtui.output import clean, duration
from negtui.view import Curve, View

_NO_CURVE = Curve()


class Part(NamedTuple):
    """A piece of a line; `is_loud`: it stands out."""

    text: str
    is_loud: bool = False


def runs_of(view: View, session: str | None) -> list[JobRow]:
    """The trainings of a session, oldest first."""
    rows = (row for row in view.jobs.values() if isinstance(row.spec, TrainJob) and row.spec.session == session)
    return sorted(rows, key=lambda row: (row.created, row.id))


def with_older(runs: Sequence[JobRow], job_id: str | None, num_older: int) -> list[JobRow]:
    """A run, and as many of those before it, newest first; empty where it is none of `runs`."""
    place = next((place for place, row in enumerate(runs) if row.id == job_id), None)
    return [] if place is None else [*reversed(runs[max(0, place - num_older) : place + 1])]


def curves_by_metric(view: View, rows: Sequence[JobRow]) -> dict[str, list[tuple[str, Curve]]]:
    """(short id, curve) of each run, by metric; a run that lacks one has an empty curve, so that every run keeps its place."""
    told: list[Mapping[str, Curve]] = [view.curves.get(row.id, {}) for row in rows]
    names = sorted({name for curves in told for name in curves})
    return {name: [(short(row.id), curves.get(name, _NO_CURVE)) for row, curves in zip(rows, told, strict=True)] for name in names}


def num_steps(row: JobRow | None) -> int:
    """The steps that were asked for; 0: of nothing that is a training."""
    return row.spec.training.max_train_steps if row is not None and isinstance(row.spec, TrainJob) else 0


def side(row: JobRow | None) -> int:
    """Pixels of a side of the run's sample pictures."""
    return row.spec.training.resolution if row is not None and isinstance(row.spec, TrainJob) else 1024


def short(job_id: str) -> str:
    """The end of an id, which tells jobs apart."""
    return job_id[-6:]


def run_words(view: View, session: str | None, row: JobRow | None, num_older: int = 0) -> list[Part]:
    """Where a run is: state, reason, step, pace, what is left."""
    if session is None:
        return [Part("No session is chosen: press 1 and choose one.")]
    if row is None:
        return [Part(f"{session}: not trained yet. r starts it.")]
    ids = [one.id for one in runs_of(view, session)]
    parts = [Part(f"{session}  run {ids.index(row.id) + 1} of {len(ids)} ({short(row.id)})  ")]
    parts.append(Part(f" {row.state} ", True) if row.state in ("running", "pausing") else Part(row.state))
    parts.append(Part(_pace(view, row)))
    reason = row.error.message if row.error is not None and row.state in ("failed", "blocked") else row.reason
    if reason:
        parts.append(Part(f"  {' '.join(clean(reason).split())}"))
    if num_older:
        parts.append(Part(f"  over {num_older} older"))
    return parts


def _pace(view: View, row: JobRow) -> str:
    """Step, steps a second, what is left; of a run that stands or ended, how far it came."""
    progress = view.progress.get(row.id)
    if progress is None:
        curve = view.curves.get(row.id, {}).get("loss")
        return f"  step {curve.steps[-1]}/{num_steps(row)}" if curve and curve.steps else ""
    words = f"  {clean(progress.phase)} {progress.step}/{progress.num_steps}"
    if progress.steps_per_second:
        words += f"  {progress.steps_per_second:.2f} it/s"
    if progress.eta_seconds is not None:
        words += f"  {duration(progress.eta_seconds)} left"
    return words + (f"  {progress.memory_bytes / 2**30:.1f} GiB" if progress.memory_bytes else "")
