"""A training from its plan: lend the model, encode what is trained on, put the adapter on, run, and leave all as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch

from daemon.protocol.errors import NegError
from daemon.protocol.events import DurableEvent, Logged, StepProgress
from daemon.recipe import JobContext
from daemon.training.adapters.attach import attached
from daemon.training.adapters.formats import read_init_adapter
from daemon.training.adapters.textual_inversion import attached_embedding
from daemon.training.compiled import compiled_blocks
from daemon.training.data.batches import Batches, prepare_batches
from daemon.training.monitoring.influence import ordinary_prompts
from daemon.training.objective.conditioning import CachedConditioner, Conditioner, is_cut, make_conditioner
from daemon.training.objective.loss import noise_schedule
from daemon.training.objective.preservation import preservation_prompts
from daemon.training.optimizers.make import AdapterOptimizer
from daemon.training.plan import TrainingPlan
from daemon.training.run import Run
from daemon.training.trainer import Trainer


def run_training(plan: TrainingPlan, context: JobContext) -> Iterator[DurableEvent]:
    """Train from the newest checkpoint (or the beginning) to the finished adapter file; raises `NegError` `gpu_oom` and others."""
    try:
        yield from _training(plan, context)
        return
    except torch.OutOfMemoryError as error:
        reason = str(error).split(".")[0]
    # Raised out here: the traceback of the other holds the tensors that did not fit.
    hint = "Set gradient_checkpointing, or a smaller train_batch_size with more gradient_accumulation_steps."
    raise NegError("gpu_oom", f"Training does not fit the device: {reason}.", hint)


def _training(plan: TrainingPlan, context: JobContext) -> Iterator[DurableEvent]:
    spec = plan.spec
    with contextlib.ExitStack() as stack:
        with context.phase("load"):
            _tell(context, "load", 0, 1)
            init = read_init_adapter(plan.session_path, spec)
            # A list of parts of its own: a textual inversion lends other tokenizers.
            parts = SimpleNamespace(**vars(stack.enter_context(context.engine.borrow_training_parts(plan.job.model))))
        with context.phase("cache"):
            batches = _prepare_batches(plan, context, parts)
        attach: Any = attached_embedding if spec.method == "textual_inversion" else attached
        adapter = stack.enter_context(attach(parts, spec, init))
        stack.enter_context(compiled_blocks(parts.unet, spec.torch_compile))
        with context.phase("cache"):
            conditioner = make_conditioner(spec, parts, plan.identity, plan.session_path / "cache" / "text")
            warning = _prepare_captions(plan, context, parts, batches, conditioner)
        if warning:
            yield Logged(job_id=context.job_id, level="warning", message=warning)
        optimizer = AdapterOptimizer(spec, adapter.parameters, parts.device)
        trainer = Trainer(spec, parts, adapter, noise_schedule(parts.noise_scheduler, parts.device), batches, conditioner, optimizer)
        yield from Run(plan, context, parts, adapter, batches, trainer).events()


def _prepare_batches(plan: TrainingPlan, context: JobContext, parts: Any) -> Batches:
    """Images through the frozen VAE."""

    def on_image(index: int, num_images: int) -> None:
        context.check()
        _tell(context, "cache", index + 1, num_images)

    return prepare_batches(plan.dataset, plan.spec, parts, plan.identity, plan.latents_path, on_image)


def _prepare_captions(plan: TrainingPlan, context: JobContext, parts: Any, batches: Batches, conditioner: Conditioner) -> str:
    """Captions through the text encoders where these stay as they are; returns in words which are too long, if any."""
    spec = plan.spec
    if isinstance(conditioner, CachedConditioner):
        own = (None, spec.instance_prompt, *(preservation_prompts(spec) if spec.preservation_weight else ()))
        measured = ordinary_prompts(spec) if spec.validation_steps else ()
        conditioner.prepare((*batches.captions, *own, *measured), context.check)
    cut = [caption for caption in batches.captions if is_cut(parts, caption)]
    if not cut:
        return ""
    if cut == [spec.instance_prompt]:
        return "The instance prompt is longer than the text encoders read; its end is cut off."
    return f"{len(cut)} of {len(batches.captions)} captions are longer than the text encoders read; their ends are cut off."


def _tell(context: JobContext, phase: str, step: int, num_steps: int) -> None:
    context.tell(StepProgress(job_id=context.job_id, phase=phase, step=step, num_steps=num_steps))
