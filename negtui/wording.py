"""Jobs and events in words. Pure: structs of the contract in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from daemon.protocol.effects import Effect
from daemon.protocol.events import (
    AdapterSaved,
    AnyEvent,
    CellStopped,
    CheckpointSaved,
    ComparisonSaved,
    ImageSaved,
    JobAccepted,
    JobRow,
    JobStateChanged,
    Logged,
    MetricsRecorded,
    SamplesSaved,
    SessionChanged,
    StepProgress,
    SweepSaved,
    WorkerChanged,
)
from daemon.protocol.specs import CompareJob, JobSpec, MergeJob, SweepJob, SynthesizeJob, TrainJob
from negtui.output import duration, table

_ACTS: dict[type[JobSpec], str] = {
    SynthesizeJob: "synthesise",
    TrainJob: "train",
    MergeJob: "merge",
    CompareJob: "compare",
    SweepJob: "sweep",
}
ASIDE = ("sample", "validate")
"""Phases in which a job looks at itself: how far it is does not change meanwhile."""


class Reading(NamedTuple):
    """How far a job is in its phase: `fraction` in 0..1 (None: as far as before), and the same in words. No phase: the one it is in."""

    fraction: float | None
    text: str
    phase: str = ""


def act(spec: JobSpec) -> str:
    """`synthesise`, `train`, `merge`, `compare` or `sweep`."""
    return _ACTS[type(spec)]


def title(job: JobRow) -> str:
    """`train toy`; of merges and sweeps, of which a session may have several, the result too: `merge toy/both`."""
    made = ""
    if isinstance(job.spec, MergeJob):
        made = f"/{job.spec.merging.output_name}"
    elif isinstance(job.spec, SweepJob):
        made = f"/{job.spec.sweep.output_name}"
    return f"{act(job.spec)} {job.spec.session}{made}"


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
    place, pace = f"step {event.step} of {event.num_steps}", _ahead(event)
    if event.image_index is not None and event.num_images:
        share = min(1.0, (event.image_index + share) / event.num_images)
        place = f"image {event.image_index + 1} of {event.num_images}"
    if event.phase in ASIDE:
        return Reading(None, f"{event.phase}: {place}{pace}")
    return Reading(share, f"{event.phase}: {place}{_loss(event)}{pace}{_memory(event)}", event.phase)


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
            return f"{_steps(event.steps)}: {', '.join(means)}"
        case SamplesSaved():
            return _samples(event)
        case AdapterSaved():
            kept = f", the weights of step {event.step} ({event.reason})" if event.step is not None else ""
            return f"adapter {event.name} {'was there' if event.reused else 'saved'}{kept}: {event.path} (sha256 {event.sha256})"
        case ComparisonSaved():
            return f"comparison {event.name} saved: {event.report_path}. {event.verdict}"
        case CellStopped():
            return f"cell {event.cell} {event.reason}"
        case SweepSaved():
            return f"sweep {event.name} saved: {event.table_path}. {event.verdict}"
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


def stays(event: AnyEvent) -> bool:
    """Whether a person who follows a job wants an event's line to stay, beside the progress."""
    match event:
        case MetricsRecorded():
            return bool(event.steps) and "loss" not in event.values
        case AdapterSaved():
            return event.step is not None
        case Logged() | SamplesSaved() | CellStopped():
            return True
    return False


def _ahead(event: StepProgress) -> str:
    images = f" ({event.samples_per_second:.1f} images/s)" if event.samples_per_second else ""
    pace = f", {event.steps_per_second:.1f} steps/s{images}" if event.steps_per_second else ""
    return f"{pace}, {duration(event.eta_seconds)} left" if event.eta_seconds else pace


def _loss(event: StepProgress) -> str:
    return f", loss {event.values['loss']:.4f}" if "loss" in event.values else ""


def _memory(event: StepProgress) -> str:
    return f", {event.memory_bytes / 2**30:.1f} GiB" if event.memory_bytes else ""


def _steps(steps: Sequence[int]) -> str:
    if steps[0] != steps[-1]:
        return f"steps {steps[0]} to {steps[-1]}"
    return f"step {steps[0]}" if steps[0] else "before the first step"


def _samples(event: SamplesSaved) -> str:
    """`samples of step 100 (target 2, baseline 2, placebo 2): samples/wrong-1f/step-000100`: the folder is that of the newest pictures."""
    arms = [picture.arm for picture in event.pictures]
    counts = ", ".join(f"{arm} {arms.count(arm)}" for arm in dict.fromkeys(arms))
    folder = max((picture.path.rpartition("/")[0] for picture in event.pictures), default="nothing")
    when = f"of step {event.step}" if event.step else "before the first step"
    return f"samples {when} ({counts}): {folder}"
