"""Jobs and events in words. Pure: structs of the contract in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from daemon.protocol.events import (
    AdapterSaved,
    AnyEvent,
    CheckpointSaved,
    ComparisonSaved,
    Effect,
    ImageSaved,
    JobAccepted,
    JobRow,
    JobStateChanged,
    Logged,
    MetricsRecorded,
    SessionChanged,
    StepProgress,
    WorkerChanged,
)
from daemon.protocol.specs import CompareJob, JobSpec, SynthesizeJob
from negtui.output import duration, table


class Reading(NamedTuple):
    """How far a job is in its phase: `fraction` in 0..1, and the same in words. No phase: the one it is in."""

    fraction: float
    text: str
    phase: str = ""


def act(spec: JobSpec) -> str:
    """`synthesise`, `train` or `compare`."""
    return "synthesise" if isinstance(spec, SynthesizeJob) else "compare" if isinstance(spec, CompareJob) else "train"


def title(job: JobRow) -> str:
    """`train toy`."""
    return f"{act(job.spec)} {job.spec.session}"


def state(job: JobRow) -> str:
    """`failed: what happened. What to do.`"""
    if job.error is not None and job.state in ("failed", "blocked"):
        return f"{job.state}: {job.error.message} {job.error.hint}".strip()
    return f"{job.state}: {job.reason}" if job.reason else job.state


def reading(event: AnyEvent) -> Reading | None:
    """How far its job is by a `StepProgress` or `ImageSaved`; None for other events."""
    if isinstance(event, ImageSaved):
        # The share of one act's pictures: a comparison has its measuring still to come.
        return Reading((event.index + 1) / max(event.num_images, 1), f"{event.index + 1} of {event.num_images} images")
    if not isinstance(event, StepProgress):
        return None
    share = min(1.0, event.step / max(event.num_steps, 1))
    if event.image_index is not None and event.num_images:
        fraction = min(1.0, (event.image_index + share) / event.num_images)
        return Reading(fraction, f"{event.phase}: image {event.image_index + 1} of {event.num_images}{_ahead(event)}", event.phase)
    return Reading(share, f"{event.phase}: step {event.step} of {event.num_steps}{_ahead(event)}", event.phase)


def told(event: AnyEvent) -> str | None:
    """A durable event as a line of a job's log; None for what no log shows."""
    match event:
        case JobAccepted():
            return f"accepted: {title(event.job)}"
        case JobStateChanged():
            return state(event.job)
        case ImageSaved():
            wanted = event.image.arm or event.image.keyword or event.image.request.prompt
            return (
                f"image {event.index + 1} of {event.num_images} {'was there' if event.reused else 'saved'}: {event.image.path} ({wanted})"
            )
        case CheckpointSaved():
            return f"checkpoint at step {event.step}: {event.path}"
        case MetricsRecorded() if event.steps:
            means = (f"{name} {sum(values) / len(values):.4g}" for name, values in event.values.items() if values)
            return f"steps {event.steps[0]} to {event.steps[-1]}: {', '.join(means)}"
        case AdapterSaved():
            return f"adapter {event.name} {'was there' if event.reused else 'saved'}: {event.path} (sha256 {event.sha256})"
        case ComparisonSaved():
            return f"comparison {event.name} saved: {event.report_path}. {event.verdict}"
        case Logged():
            return f"{event.level}: {event.message}"
        case WorkerChanged():
            return f"worker {event.worker} is {event.state}{f': {event.message}' if event.message else ''}"
        case SessionChanged():
            return f"session {event.session} {event.change}{f': {event.message or event.path}' if event.message or event.path else ''}"
    return None


def effects_table(effects: Sequence[Effect]) -> list[str]:
    """Lines of a table: per metric and pair of arms both means, their paired difference, its interval, and what it says."""
    rows = [
        (
            effect.metric,
            f"{effect.arm} - {effect.against}",
            f"{effect.mean:.4g}",
            f"{effect.mean_against:.4g}",
            f"{effect.difference:+.3g}",
            f"[{effect.low:+.3g}, {effect.high:+.3g}]",
            effect.verdict,
        )
        for effect in effects
    ]
    confidence = f"{100 * effects[0].confidence:.0f} % interval" if effects else "interval"
    headings = ("metric", "arms", "mean", "against", "difference", confidence, "")
    return table(headings, rows, indent="  ", right=frozenset({2, 3, 4, 5}))


def _ahead(event: StepProgress) -> str:
    pace = f", {event.steps_per_second:.1f} steps/s" if event.steps_per_second else ""
    return f"{pace}, {duration(event.eta_seconds)} left" if event.eta_seconds else pace
