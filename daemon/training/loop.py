"""A training from its plan to the finished adapter, and the words for a device that is too small."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from daemon.protocol.errors import NegError
from daemon.protocol.events import DurableEvent, Logged
from daemon.recipe import JobContext
from daemon.training.built import built
from daemon.training.plan import TrainingPlan
from daemon.training.run import Run


def run_training(plan: TrainingPlan, context: JobContext) -> Iterator[DurableEvent]:
    """Train from the newest checkpoint (or the beginning) to the finished adapter file; raises `NegError` `gpu_oom` and others."""
    try:
        yield from _training(plan, context)
        return
    except torch.OutOfMemoryError as error:
        reason = str(error).split(".")[0]
    # Raised out here: the traceback of the other holds the tensors that did not fit.
    raise does_not_fit(reason)


def does_not_fit(reason: str) -> NegError:
    """That a device is too small, and what to do."""
    hint = "Set gradient_checkpointing, or a smaller train_batch_size with more gradient_accumulation_steps."
    return NegError("gpu_oom", f"Training does not fit the device: {reason}.", hint)


def _training(plan: TrainingPlan, context: JobContext) -> Iterator[DurableEvent]:
    with built(plan, context) as found:
        if found.warning:
            yield Logged(job_id=context.job_id, level="warning", message=found.warning)
        yield from Run(plan, context, found).events()
