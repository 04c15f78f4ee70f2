"""Act 2: the session's images -> an adapter. Imports torch only when there is something to compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from daemon import models
from daemon.files import sweep_temporary
from daemon.protocol.events import AdapterSaved, DurableEvent, Logged
from daemon.protocol.specs import TrainJob
from daemon.protocol.training_rules import doubts, require_sound
from daemon.recipe import JobContext
from daemon.training.adapters import export
from daemon.training.adapters.placeholder import settled
from daemon.training.data.class_images import paint_class_images
from daemon.training.data.dataset import read_dataset
from daemon.training.monitoring.metrics import aligned_batches, measured, read_measurements, read_points
from daemon.training.monitoring.sample_lines import Place, saved_samples
from daemon.training.monitoring.trackers import require_trackers
from daemon.training.plan import TrainingPlan, fingerprint

MAX_WARNINGS = 20


def train(job: TrainJob, context: JobContext) -> Iterator[DurableEvent]:
    """Train the adapter of `job`, or tell of it where it is done; stopped at any moment and run again, it goes on.

    Raises `NegError`: options that contradict each other, fewer GPUs than processes, no usable image, a loss that is not finite, no room
    on the disk.
    Raises `Interrupted` after a checkpoint.
    """
    require_sound(job.training)
    require_trackers(job.training)
    models.require_gpus(job.model, job.training.num_processes)
    yield from paint_class_images(job, context)
    with context.phase("load"):
        plan = make_plan(job, context)
    yield from _doubts(plan)
    warnings: list[str] = []
    sweep_temporary(plan.adapter_path.parent)
    finished = export.find_finished(plan, warnings.append)
    for text in warnings:
        yield Logged(job_id=context.job_id, level="warning", message=text)
    if finished is not None:
        yield from _tell_again(plan, finished)
        return
    with context.phase("load"):
        from daemon.training.earlier import begin
        from daemon.training.loop import run_training
    for text in begin(plan):
        yield Logged(job_id=context.job_id, level="info", message=text)
    yield from run_training(plan, context)


def make_plan(job: TrainJob, context: JobContext) -> TrainingPlan:
    """Read the images, identify the model: everything that decides the weights, without loading anything.

    Raises `NegError`: options that contradict each other, no usable image, no adapter to begin from.
    """
    require_sound(job.training)
    job = msgspec.structs.replace(job, training=settled(job.training))
    spec = job.training
    identity = context.engine.identify(job.model)
    dataset = read_dataset(context.session_path, spec, context.check, identity)
    init_sha256 = export.init_adapter_sha256(context.session_path, spec)
    key = fingerprint(spec, dataset.sha256, identity, init_sha256)
    return TrainingPlan(job, context.job_id, context.session_path, dataset, identity, key, init_sha256)


def _tell_again(plan: TrainingPlan, finished: AdapterSaved) -> Iterator[DurableEvent]:
    """All that was told of a run that is done, and why it is not what was asked for, where it is not."""
    record, points = export.read_record(plan.adapter_path), read_points(plan.metrics_path, plan.spec.max_train_steps)
    yield from aligned_batches(plan.job_id, points, points[-1].step if points else 0)
    yield from measured(plan.job_id, read_measurements(plan.metrics_path, plan.spec.max_train_steps))
    yield from saved_samples(Place(plan.session_path, plan.checkpoints_path.name), plan.job_id, plan.job.session)
    if record is not None and record.reason:
        message = f"The adapter {plan.spec.output_name} holds the weights of step {record.step}: {record.reason}."
        yield Logged(job_id=plan.job_id, level="warning", message=f"{message} To train on, change max_train_steps.")
        finished = msgspec.structs.replace(finished, step=record.step, reason=record.reason)
    missing = export.missing_steps(plan, record.step if record is not None and record.step else plan.spec.max_train_steps)
    if missing:
        message = f"The adapter {plan.spec.output_name} was trained without keeping it at {_listed(missing)}."
        yield Logged(job_id=plan.job_id, level="warning", message=f"{message} To have those, train it under another output_name.")
    yield finished


def _listed(steps: Sequence[int]) -> str:
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"


def _doubts(plan: TrainingPlan) -> Iterator[Logged]:
    texts = [*doubts(plan.spec), *plan.dataset.refused[:MAX_WARNINGS]]
    if len(plan.dataset.refused) > MAX_WARNINGS:
        texts.append(f"{len(plan.dataset.refused) - MAX_WARNINGS} more files of the dataset are left out.")
    for text in texts:
        yield Logged(job_id=plan.job_id, level="warning", message=text)
