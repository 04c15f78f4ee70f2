"""The mathematics of a training: optimizer steps that depend on nothing but their number. Knows nothing of files, jobs or events."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.lora import Parameters, copy_into
from daemon.training.checkpoint import TrainerState
from daemon.training.data.cache import Posteriors
from daemon.training.data.draws import batch_indices, draw_seed
from daemon.training.monitoring.metrics import Point
from daemon.training.objective.loss import Conditioning, NoiseSchedule, denoising_loss

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


def _generator(seed: int, purpose: str, step: int, micro_step: int) -> torch.Generator:
    # On the CPU whatever the device: the same seed then draws the same noise everywhere.
    return torch.Generator().manual_seed(draw_seed(seed, purpose, step, micro_step))
