"""A trainer built from its plan: lend the model, encode what is trained on, put the adapter on; afterwards all is left as it was.

The same in every process that takes part in a training. Knows nothing of steps, checkpoints or events.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from daemon.engine.memory import move_aside
from daemon.protocol.events import StepProgress
from daemon.protocol.training_spec import TrainingSpec
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
from daemon.training.trainer import Trainer


@dataclass(frozen=True)
class Built:
    """A trainer before its first step, and what it is made of."""

    parts: Any
    adapter: Any
    batches: Batches
    trainer: Trainer
    warning: str
    """Which captions are too long, in words; empty where none is."""
    idle: tuple[Any, ...]
    """Modules that no step needs: they may leave the device."""


@contextlib.contextmanager
def built(plan: TrainingPlan, context: JobContext) -> Iterator[Built]:
    """Build it, telling the progress of loading and encoding. Raises `NegError`, `Interrupted`, `torch.OutOfMemoryError`."""
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
        optimizer = AdapterOptimizer(spec, adapter.parameters, parts.device)
        trainer = Trainer(spec, parts, adapter, noise_schedule(parts.noise_scheduler, parts.device), batches, conditioner, optimizer)
        idle = _idle(spec, parts)
        if spec.num_processes > 1 and torch.device(parts.device).type == "cuda":
            # At once: a step that is taken by several is not taken again where memory was short.
            move_aside(*idle)
        yield Built(parts, adapter, batches, trainer, warning, idle)


def _idle(spec: TrainingSpec, parts: Any) -> tuple[Any, ...]:
    is_frozen = not spec.train_text_encoder and spec.method == "lora"
    return (parts.vae, *((parts.text_encoder, parts.text_encoder_2) if is_frozen else ()))


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
