"""The run around a trainer: from the newest checkpoint to the finished adapter, stopping at any step it is asked to."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from diffusers.utils import convert_state_dict_to_diffusers

from daemon.files import sweep_temporary
from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved, CheckpointSaved, DurableEvent, Logged, StepProgress
from daemon.recipe import Interrupted, JobContext
from daemon.training import tensors
from daemon.training.adapters import export
from daemon.training.adapters.lora import attached_lora, peft_metadata
from daemon.training.checkpoint import checkpoint_path, environment, load_checkpoint, save_checkpoint
from daemon.training.data.cache import Posteriors, encode_images, encode_prompt
from daemon.training.data.dataset import time_ids
from daemon.training.monitoring.metrics import MetricsFile, Point, aligned_batches, last_batch
from daemon.training.objective.loss import Conditioning, noise_schedule
from daemon.training.plan import TrainingPlan, lora_alpha
from daemon.training.trainer import NotFinite, Trainer


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
    with contextlib.ExitStack() as stack:
        with context.phase("load"):
            _tell(context, "load", 0, 1)
            parts = stack.enter_context(context.engine.borrow_training_parts(plan.job.model))
        with context.phase("cache"):
            posteriors, conditioning, is_cut = _encode(plan, context, parts)
        if is_cut:
            yield _logged(context, "warning", "The instance prompt is longer than the text encoders read; its end is cut off.")
        spec = plan.spec
        parameters = stack.enter_context(
            attached_lora(parts.unet, spec.rank, lora_alpha(spec), spec.seed, gradient_checkpointing=spec.gradient_checkpointing)
        )
        ids = [time_ids(image, spec.resolution) for image in plan.dataset.images]
        time_ids_N6 = torch.tensor(ids, dtype=torch.float32, device=parts.device)
        schedule = noise_schedule(parts.noise_scheduler, parts.device)
        trainer = Trainer(spec, parts.unet, parameters, schedule, posteriors, conditioning, time_ids_N6, parts.device, parts.dtype)
        yield from _Run(plan, context, trainer, environment(parts.device)).events()


class _Run:
    """A trainer on its way: checkpoints, points, progress, and the words for what goes wrong."""

    def __init__(self, plan: TrainingPlan, context: JobContext, trainer: Trainer, where: dict[str, str]) -> None:
        self._plan, self._context, self._trainer, self._environment = plan, context, trainer, where
        self._num_steps = plan.spec.max_train_steps
        self._saved_step = 0
        self._bit_exact = True
        self._times: deque[float] = deque(maxlen=21)

    def events(self) -> Iterator[DurableEvent]:
        with self._context.phase("train"):
            yield from self._resume()
            self._metrics = MetricsFile(self._plan.metrics_path, self._trainer.step)
            with contextlib.closing(self._metrics):
                yield from aligned_batches(self._context.job_id, self._metrics.points, self._num_steps)
                yield from self._steps()
        with self._context.phase("export"):
            yield self._export()

    def _resume(self) -> Iterator[DurableEvent]:
        folder = self._plan.checkpoints_path
        sweep_temporary(folder)
        warnings: list[str] = []
        loaded = load_checkpoint(folder, self._plan.fingerprint, warnings.append)
        for text in warnings:
            yield _logged(self._context, "warning", text)
        if loaded is None:
            return
        state, record = loaded
        self._trainer.restore(state)
        self._saved_step = state.step
        self._bit_exact = record.bit_exact and record.environment == self._environment
        yield self._checkpoint_saved(state.step)
        if record.environment != self._environment:
            text = f"The training goes on elsewhere than it began ({_difference(record.environment, self._environment)})"
            yield _logged(self._context, "warning", f"{text}: its last bits may differ.")

    def _steps(self) -> Iterator[DurableEvent]:
        while self._trainer.step < self._num_steps:
            try:
                point = self._trainer.take_step(self._context.check)
            except Interrupted:
                yield from self._checkpoint()
                raise
            except NotFinite as error:
                raise self._not_finite(error) from error
            self._metrics.append(point)
            self._tell_step(point)
            yield from aligned_batches(self._context.job_id, last_batch(self._metrics.points), self._num_steps)
            if point.step % self._plan.spec.checkpointing_steps == 0 or point.step == self._num_steps:
                yield from self._checkpoint()

    def _checkpoint(self) -> Iterator[DurableEvent]:
        step = self._trainer.step
        if step == self._saved_step:
            return
        try:
            state = self._trainer.state()
        except NotFinite as error:
            raise self._not_finite(error) from error
        # The points first: a checkpoint must not know more steps than the curve.
        self._metrics.sync()
        save_checkpoint(self._plan.checkpoints_path, state, self._plan.fingerprint, self._environment, self._bit_exact)
        self._saved_step = step
        yield self._checkpoint_saved(step)

    def _export(self) -> AdapterSaved:
        adapter = self._trainer.state().adapter
        metadata = export.adapter_metadata(self._plan, peft_metadata(self._plan.spec.rank, lora_alpha(self._plan.spec)))
        layers = convert_state_dict_to_diffusers(adapter)
        content = tensors.to_bytes({f"unet.{name}": weight for name, weight in layers.items()}, metadata)
        num_parameters = sum(weight.numel() for weight in adapter.values())
        record = export.make_record(self._plan, content, num_parameters, self._metrics.points, self._environment, self._bit_exact)
        return export.save_adapter(self._plan, content, record)

    def _checkpoint_saved(self, step: int) -> CheckpointSaved:
        path = checkpoint_path(self._plan.checkpoints_path, step)
        return CheckpointSaved(job_id=self._context.job_id, step=step, path=self._plan.relative(path))

    def _tell_step(self, point: Point) -> None:
        self._times.append(time.perf_counter())
        rate = (len(self._times) - 1) / (self._times[-1] - self._times[0]) if len(self._times) > 1 else None
        self._context.tell(
            StepProgress(
                job_id=self._context.job_id,
                phase="train",
                step=point.step,
                num_steps=self._num_steps,
                label=f"loss {point.loss:.4f}",
                steps_per_second=rate,
                eta_seconds=(self._num_steps - point.step) / rate if rate else None,
            )
        )

    def _not_finite(self, error: NotFinite) -> NegError:
        kept = f" The checkpoint of step {self._saved_step} is kept." if self._saved_step else ""
        return NegError(
            "invalid",
            f"Training stopped at step {self._trainer.step + 1} of {self._num_steps}: {error}.{kept}",
            "Lower learning_rate, add lr_warmup_steps, or set model.torch_dtype to float32 or bfloat16.",
        )


def _encode(plan: TrainingPlan, context: JobContext, parts: Any) -> tuple[Posteriors, Conditioning, bool]:
    """Prompt and images through the frozen encoders."""

    def on_image(index: int, num_images: int) -> None:
        context.check()
        _tell(context, "cache", index + 1, num_images)

    spec = plan.spec
    conditioning, is_cut = encode_prompt(parts, spec.instance_prompt)
    posteriors = encode_images(parts.vae, parts.device, plan.dataset.images, plan.identity, spec.resolution, plan.latents_path, on_image)
    return posteriors, conditioning, is_cut


def _tell(context: JobContext, phase: str, step: int, num_steps: int) -> None:
    context.tell(StepProgress(job_id=context.job_id, phase=phase, step=step, num_steps=num_steps))


def _logged(context: JobContext, level: Any, message: str) -> Logged:
    return Logged(job_id=context.job_id, level=level, message=message)


def _difference(before: dict[str, str], now: dict[str, str]) -> str:
    names = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}" for name in names)
