"""The mathematics of a training: optimizer steps that depend on nothing but their number. Knows nothing of files, jobs or events."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.accelerated import add_up, own_micro_steps, told_by_first
from daemon.training.checkpoint import TrainerState
from daemon.training.data.draws import draw_seed
from daemon.training.monitoring.metrics import Point
from daemon.training.objective.conditioning import Conditioner, Conditioning
from daemon.training.objective.inputs import DrawnBatch, Inputs, make_inputs
from daemon.training.objective.loss import NoiseSchedule, denoising_loss, predict
from daemon.training.objective.preservation import draw_prompts, preservation_loss, preservation_prompts
from daemon.training.optimizers.learning_rate import learning_rate_factor
from daemon.training.optimizers.make import AdapterOptimizer

MIN_GRAD_SCALE = 1e-3
"""fp16 halves its loss scale at every overflow; below this nothing but NaN comes out any more."""

LEARNING_RATE_SCALE = "learning_rate_scale"


class NotFinite(Exception):
    """A loss, gradient or weight that is NaN or infinite. The weights of the step before it are untouched."""

    def __init__(self, what: str, value: float) -> None:
        super().__init__(f"{what} became {value}")


class TrainedAdapter(Protocol):
    """What is asked of `daemon.training.adapters.attach.Adapter`."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]: ...
    def off(self) -> contextlib.AbstractContextManager[None]: ...
    def weights(self) -> dict[str, Tensor]: ...
    def load(self, weights: dict[str, Tensor]) -> None: ...


class DrawnBatches(Protocol):
    """What is asked of `daemon.training.data.batches.Batches`."""

    def draw(self, step: int, micro_step: int) -> DrawnBatch: ...


class Trainer:
    """A model, the adapter on it, what it learns from, and how one step is taken."""

    def __init__(
        self,
        spec: TrainingSpec,
        parts: Any,
        adapter: TrainedAdapter,
        schedule: NoiseSchedule,
        batches: DrawnBatches,
        conditioner: Conditioner,
        optimizer: AdapterOptimizer,
    ) -> None:
        self.step = 0
        self.schedule, self.device, self.dtype = schedule, torch.device(parts.device), parts.dtype
        self._spec, self._parts, self._adapter = spec, parts, adapter
        self._batches, self._conditioner, self._optimizer = batches, conditioner, optimizer
        self._factor_at, self._scale = learning_rate_factor(spec), 1.0
        self._preserved = preservation_prompts(spec) if spec.preservation_weight else ()
        # DoRA computes with what it reads, beside its layers.
        is_cast = self.dtype != torch.float32 and not spec.use_dora
        self._adapted = [layer for layer in parts.unet.modules() if is_cast and hasattr(layer, "cast_input_dtype_enabled")]
        self._accelerator: Accelerator
        self._drawn: tuple[tuple[int, int], Inputs] | None = None
        self._grad_scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def join(self, accelerator: Accelerator) -> None:
        """Before the first step or prediction: how to compute, and with which other processes, whose trainers stand where this one does."""
        self._accelerator = accelerator

    def take_step(self, check: Callable[[], None] = lambda: None) -> Point:
        """One optimizer step over `gradient_accumulation_steps` batches; `check` is called before each and may raise.

        Whatever raises, the weights and moments stay those of the step before. Raises `NotFinite`, and `PeerLost` with several processes,
        of which the first decides the rate.
        """
        step, num_micro_steps = self.step + 1, self._spec.gradient_accumulation_steps
        self._optimizer.zero_grad()
        loss = torch.zeros((), device=self.device)
        for micro_step in own_micro_steps(self._accelerator, num_micro_steps):
            check()
            loss += self._backward(step, micro_step) / num_micro_steps
        # While a GPU is still busy, the CPU draws what comes next.
        self._draw_ahead(step + 1)
        self._add_up(loss)
        mean_loss, grad_norm = self._clip(loss)
        if not math.isfinite(mean_loss):
            raise NotFinite("the loss", mean_loss)
        self._update(step, grad_norm)
        self.step = step
        adapter_norm = float(self._norm(list(self._adapter.parameters.values())))
        return Point(step, mean_loss, self._optimizer.learning_rate, grad_norm if math.isfinite(grad_norm) else 0.0, adapter_norm)

    def encode(self, captions: Sequence[str | None]) -> Conditioning:
        """Captions as the model takes them, with the weights in place; None is the pipeline's unconditional one."""
        return self._conditioner.encode(captions)

    def predict(self, noisy_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning, time_ids_B6: Tensor) -> Tensor:
        """What the UNet says of noisy latents with the weights in place: (B, C, H, W) float32. Inputs on the device."""
        with self._uncast():
            return self._predict(noisy_BCHW, timesteps_B, conditioning, time_ids_B6)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """To measure and to paint: the weights as they would be saved, no dropout, no gradients. Afterwards all is as before."""
        modules = (self._parts.unet, self._parts.text_encoder, self._parts.text_encoder_2)
        were_training = [module.training for module in modules]
        with self._optimizer.evaluating(), torch.no_grad():
            try:
                for module in modules:
                    module.eval()
                yield
            finally:
                for module, was_training in zip(modules, were_training, strict=True):
                    module.train(was_training)

    def scale_learning_rate(self, factor: float) -> None:
        """From the next step on, multiply what the schedule says by `factor`. Takes the place of an earlier one; part of the state."""
        self._scale = factor

    def state(self) -> TrainerState:
        """Everything to go on from here; raises `NotFinite` where a weight is no number any more."""
        adapter = {name: weight.detach() for name, weight in self._adapter.parameters.items()}
        for name, weight in adapter.items():
            if not bool(torch.isfinite(weight).all()):
                raise NotFinite(f"the weight {name}", math.nan)
        return TrainerState(
            step=self.step,
            adapter=adapter,
            optimizer=self._optimizer.state(),
            grad_scaler=self._grad_scaler.state_dict(),
            facts={LEARNING_RATE_SCALE: self._scale},
        )

    def restore(self, state: TrainerState) -> None:
        """Go on as if the steps up to `state.step` had been taken here."""
        self._adapter.load(state.adapter)
        self._optimizer.restore(state.optimizer)
        if state.grad_scaler:
            self._grad_scaler.load_state_dict(state.grad_scaler)
        self._scale = float(state.facts.get(LEARNING_RATE_SCALE, 1.0))
        self.step = state.step

    def _backward(self, step: int, micro_step: int) -> Tensor:
        """Add this micro-step's share to the gradients; returns its loss, a scalar without gradients."""
        total = torch.zeros((), device=self.device)
        with self._reproducible(step, micro_step), self._uncast():
            # One after another: the memory of the first is free before the second is computed.
            for loss in self._losses(step, micro_step):
                # A learned token is in no caption of a batch whose captions were all dropped.
                if loss.requires_grad:
                    self._grad_scaler.scale(loss / self._spec.gradient_accumulation_steps).backward()
                total += loss.detach()
        return total

    def _losses(self, step: int, micro_step: int) -> Iterator[Tensor]:
        spec, inputs = self._spec, self._inputs(step, micro_step)

        def predicted(captions: Sequence[str | None]) -> Tensor:
            return self._predict(inputs.noisy_BCHW, inputs.timesteps_B, self.encode(captions), inputs.time_ids_B6)

        yield denoising_loss(predicted(inputs.captions), inputs.target_BCHW, inputs.weight_B, inputs.num_class, spec.prior_loss_weight)
        if self._preserved:
            prompts = draw_prompts(self._preserved, len(inputs.captions), spec.seed, step, micro_step)
            yield spec.preservation_weight * preservation_loss(self._adapter, lambda: predicted(prompts))

    def _predict(self, noisy_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning, time_ids_B6: Tensor) -> Tensor:
        with self._accelerator.autocast():
            return predict(self._parts.unet, noisy_BCHW, timesteps_B, conditioning, time_ids_B6).float()

    def _inputs(self, step: int, micro_step: int) -> Inputs:
        if self._drawn is None or self._drawn[0] != (step, micro_step):
            batch = self._batches.draw(step, micro_step)
            self._drawn = ((step, micro_step), make_inputs(self._spec, self.schedule, batch, step, micro_step, self.device))
        return self._drawn[1]

    def _draw_ahead(self, step: int) -> None:
        own = own_micro_steps(self._accelerator, self._spec.gradient_accumulation_steps)
        if own and step <= self._spec.max_train_steps:
            self._inputs(step, own[0])

    def _add_up(self, loss: Tensor) -> None:
        """With several processes: the gradients and the loss over all of them, and the rate's scale that the first was told."""
        if self._accelerator.num_processes == 1:
            return
        self._scale = told_by_first(self._accelerator, self._scale)
        for parameter in self._adapter.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        add_up(self._accelerator, [*(parameter.grad for parameter in self._adapter.parameters.values()), loss])

    def _clip(self, loss: Tensor) -> tuple[float, float]:
        """Clip the gradients; returns the loss, and their norm before."""
        if self._grad_scaler.is_enabled():
            self._grad_scaler.unscale_(self._optimizer.torch_optimizer)
        parameters = [parameter for parameter in self._adapter.parameters.values() if parameter.grad is not None]
        total_norm = self._norm([parameter.grad for parameter in parameters])
        # Both at once: a GPU is waited for once.
        mean_loss, grad_norm = torch.stack([loss, total_norm]).tolist()
        if grad_norm > self._spec.max_grad_norm and math.isfinite(grad_norm):
            nn.utils.clip_grads_with_norm_(parameters, self._spec.max_grad_norm, total_norm)
        return mean_loss, grad_norm

    def _update(self, step: int, grad_norm: float) -> None:
        """Step, or leave it out where fp16 overflowed."""
        scaler = self._grad_scaler if self._grad_scaler.is_enabled() else None
        if not math.isfinite(grad_norm) and (scaler is None or scaler.get_scale() < MIN_GRAD_SCALE):
            raise NotFinite("the gradient", grad_norm)
        factor = self._factor_at(step) * self._scale
        if scaler is None:
            self._optimizer.step(factor)
            return
        try:
            self._optimizer.step(factor, scaler)
        except BaseException:
            # The scaler forgets this step, so that it may be taken again, e.g. where memory was short.
            scaler.update(scaler.get_scale())
            raise
        scaler.update()

    @torch.no_grad()
    def _norm(self, tensors: Sequence[Tensor]) -> Tensor:
        """L2 norm of all numbers in them: a scalar on the device."""
        if not tensors:
            return torch.zeros((), device=self.device)
        if self.device.type == "cuda":
            return nn.utils.get_total_norm(tensors)
        # A CPU has no kernel for many tensors: one call instead of two for each.
        return torch.linalg.vector_norm(torch.cat([tensor.reshape(-1) for tensor in tensors]))

    @contextlib.contextmanager
    def _uncast(self) -> Iterator[None]:
        """peft casts what an adapter's layer reads to float32, autocast casts it back: two passes over every activation for nothing."""
        for layer in self._adapted:
            layer.cast_input_dtype_enabled = False
        try:
            yield
        finally:
            for layer in self._adapted:
                layer.cast_input_dtype_enabled = True

    @contextlib.contextmanager
    def _reproducible(self, step: int, micro_step: int) -> Iterator[None]:
        """Dropout draws from torch's own generator: it is set to the place, and back."""
        if not self._spec.lora_dropout:
            yield
            return
        devices = [torch.cuda.current_device()] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(draw_seed(self._spec.seed, "dropout", step, micro_step))
            yield
