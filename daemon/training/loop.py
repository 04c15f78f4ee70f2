"""The training itself: optimizer steps that depend on nothing but their number, and the run around them that can stop at any of them."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers.utils import convert_state_dict_to_diffusers
from torch import Tensor

from daemon.files import sweep_temporary
from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved, CheckpointSaved, DurableEvent, Logged, StepProgress
from daemon.protocol.specs import TrainingSpec
from daemon.recipe import Interrupted, JobContext
from daemon.training import export, tensors
from daemon.training.cache import Posteriors, encode_images, encode_prompt
from daemon.training.checkpoint import TrainerState, checkpoint_path, environment, load_checkpoint, save_checkpoint
from daemon.training.dataset import time_ids
from daemon.training.draws import batch_indices, draw_seed
from daemon.training.lora import Parameters, attached_lora, copy_into, peft_metadata
from daemon.training.loss import Conditioning, NoiseSchedule, denoising_loss, noise_schedule
from daemon.training.metrics import MetricsFile, Point, aligned_batches, last_batch
from daemon.training.plan import TrainingPlan, lora_alpha

MIN_GRAD_SCALE = 1e-3
"""fp16 halves its loss scale at every overflow; below this nothing but NaN comes out any more."""


class NotFinite(Exception):
    """A loss, gradient or weight that is NaN or infinite. The weights of the step before it are untouched."""

    def __init__(self, what: str, value: float) -> None:
        super().__init__(f"{what} became {value}")


class Trainer:
    """The adapter, its optimizer, and how one step is taken. Knows nothing of files, jobs or events."""

    def __init__(
        self,
        spec: TrainingSpec,
        unet: Any,
        parameters: Parameters,
        schedule: NoiseSchedule,
        posteriors: Posteriors,
        conditioning: Conditioning,
        time_ids_N6: Tensor,
        device: Any,
        dtype: Any,
    ) -> None:
        self.step = 0
        self._spec, self._unet, self._parameters = spec, unet, parameters
        self._schedule, self._posteriors, self._time_ids_N6 = schedule, posteriors, time_ids_N6
        self._conditioning = conditioning.repeat(spec.train_batch_size)
        self._device, self._dtype = torch.device(device), dtype
        self._learning_rate_at = learning_rate_at(spec)
        self._optimizer = torch.optim.AdamW(
            list(parameters.values()),
            lr=spec.learning_rate,
            betas=(spec.adam_beta1, spec.adam_beta2),
            eps=spec.adam_epsilon,
            weight_decay=spec.adam_weight_decay,
            # One kernel instead of ten per weight: on a CPU a fifth of a small step.
            fused=self._device.type in ("cpu", "cuda"),
        )
        self._grad_scaler = torch.amp.GradScaler(self._device.type, enabled=dtype == torch.float16)

    def take_step(self, check: Callable[[], None] = lambda: None) -> Point:
        """One optimizer step over `gradient_accumulation_steps` batches; `check` is called before each and may raise.

        Whatever raises, the weights and moments stay those of the step before. Raises `NotFinite`.
        """
        step, num_micro_steps = self.step + 1, self._spec.gradient_accumulation_steps
        self._optimizer.zero_grad(set_to_none=True)
        losses = []
        for micro_step in range(num_micro_steps):
            check()
            loss = self._loss(step, micro_step)
            self._grad_scaler.scale(loss / num_micro_steps).backward()
            losses.append(loss.detach())
        mean_loss = float(torch.stack(losses).mean())
        if not math.isfinite(mean_loss):
            raise NotFinite("the loss", mean_loss)
        learning_rate = self._learning_rate_at(step)
        grad_norm = self._update(learning_rate)
        self.step = step
        return Point(step, mean_loss, learning_rate, grad_norm)

    def state(self) -> TrainerState:
        """Everything to go on from here; raises `NotFinite` where a weight is no number any more."""
        adapter = {name: parameter.detach() for name, parameter in self._parameters.items()}
        for name, weight in adapter.items():
            if not bool(torch.isfinite(weight).all()):
                raise NotFinite(f"the weight {name}", math.nan)
        found = {name: self._optimizer.state[parameter] for name, parameter in self._parameters.items()}
        moments = {f"{kind}.{name}": state[kind] for name, state in found.items() if state for kind in ("exp_avg", "exp_avg_sq")}
        num_updates = max((int(state["step"]) for state in found.values() if state), default=0)
        return TrainerState(self.step, adapter, moments, num_updates, self._grad_scaler.state_dict())

    def restore(self, state: TrainerState) -> None:
        """Go on as if the steps up to `state.step` had been taken here."""
        copy_into(self._parameters, state.adapter)
        for name, parameter in self._parameters.items():
            if state.num_updates:
                moments = {kind: state.moments[f"{kind}.{name}"].to(parameter.device) for kind in ("exp_avg", "exp_avg_sq")}
                self._optimizer.state[parameter] = {"step": torch.tensor(float(state.num_updates)), **moments}
        if state.grad_scaler:
            self._grad_scaler.load_state_dict(state.grad_scaler)
        self.step = state.step

    def _loss(self, step: int, micro_step: int) -> Tensor:
        spec = self._spec
        batch = (step - 1) * spec.gradient_accumulation_steps + micro_step
        indices = batch_indices(len(self._posteriors), spec.train_batch_size, spec.seed, batch)
        latents_BCHW = self._posteriors.sample(indices, _generator(spec.seed, "posterior", step, micro_step))
        noise_BCHW = torch.randn(latents_BCHW.shape, generator=_generator(spec.seed, "noise", step, micro_step))
        timesteps_B = torch.randint(
            0, self._schedule.num_train_timesteps, (len(indices),), generator=_generator(spec.seed, "timesteps", step, micro_step)
        )
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            return denoising_loss(
                self._unet,
                self._schedule,
                latents_BCHW.to(self._device),
                noise_BCHW.to(self._device),
                timesteps_B.to(self._device),
                self._conditioning,
                self._time_ids_N6[list(indices)],
            )

    def _update(self, learning_rate: float) -> float:
        """Clip and step; returns the gradient's norm before clipping, 0 where fp16 overflowed and the step is skipped."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._grad_scaler.unscale_(self._optimizer)
        grad_norm = float(torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._spec.max_grad_norm))
        is_finite = math.isfinite(grad_norm)
        if not is_finite and (not self._grad_scaler.is_enabled() or self._grad_scaler.get_scale() < MIN_GRAD_SCALE):
            raise NotFinite("the gradient", grad_norm)
        self._grad_scaler.step(self._optimizer)
        self._grad_scaler.update()
        return grad_norm if is_finite else 0.0


def learning_rate_at(spec: TrainingSpec) -> Callable[[int], float]:
    """diffusers' `get_scheduler` as a function of the optimizer step (from 1), so that there is nothing to save."""
    from diffusers.optimization import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=spec.learning_rate)
    try:
        scheduler = get_scheduler(
            spec.lr_scheduler, optimizer, num_warmup_steps=spec.lr_warmup_steps, num_training_steps=spec.max_train_steps
        )
    except ValueError as error:
        raise NegError("invalid", f"lr_scheduler {spec.lr_scheduler} does not go with this learning_rate: {error}.") from error
    factor = scheduler.lr_lambdas[0]
    return lambda step: float(spec.learning_rate * factor(step - 1))


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


def _generator(seed: int, purpose: str, step: int, micro_step: int) -> torch.Generator:
    # On the CPU whatever the device: the same seed then draws the same noise everywhere.
    return torch.Generator().manual_seed(draw_seed(seed, purpose, step, micro_step))
