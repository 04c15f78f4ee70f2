"""Act 2: the session's images -> an adapter. Imports torch only when there is something to compute."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.files import sweep_temporary
from daemon.protocol.events import DurableEvent, Logged
from daemon.protocol.specs import TrainJob
from daemon.recipe import JobContext
from daemon.training.adapters import export
from daemon.training.data.dataset import read_dataset
from daemon.training.monitoring.metrics import aligned_batches, read_points
from daemon.training.plan import TrainingPlan, fingerprint

MAX_WARNINGS = 20


def train(job: TrainJob, context: JobContext) -> Iterator[DurableEvent]:
    """Train the adapter of `job`, or tell of it where it is done; stopped at any moment and run again, it goes on.

    Raises `NegError`: no usable image, a loss that is not finite, no room on the disk. Raises `Interrupted` after a checkpoint.
    """
    with context.phase("load"):
        plan = make_plan(job, context)
    yield from _refusals(plan)
    warnings: list[str] = []
    sweep_temporary(plan.adapter_path.parent)
    finished = export.find_finished(plan, warnings.append)
    for text in warnings:
        yield Logged(job_id=context.job_id, level="warning", message=text)
    if finished is not None:
        num_steps = plan.spec.max_train_steps
        yield from aligned_batches(context.job_id, read_points(plan.metrics_path, num_steps), num_steps)
        yield finished
        return
    with context.phase("load"):
        from daemon.training.loop import run_training
    yield from run_training(plan, context)


def make_plan(job: TrainJob, context: JobContext) -> TrainingPlan:
    """Read the images, identify the model: everything that decides the weights, without loading anything."""
    dataset = read_dataset(context.session_path, context.check)
    identity = context.engine.identify(job.model)
    key = fingerprint(job.training, dataset.sha256, identity)
    return TrainingPlan(job, context.job_id, context.session_path, dataset, identity, key)


def _refusals(plan: TrainingPlan) -> Iterator[Logged]:
    texts = list(plan.dataset.refused[:MAX_WARNINGS])
    if len(plan.dataset.refused) > MAX_WARNINGS:
        texts.append(f"{len(plan.dataset.refused) - MAX_WARNINGS} more files of the dataset are left out.")
    for text in texts:
        yield Logged(job_id=plan.job_id, level="warning", message=text)
