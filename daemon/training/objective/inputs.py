"""What one micro-step shows the UNet and wants of it: a batch, noise and timesteps drawn for it. Knows nothing of models or adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.data.draws import draw_seed
from daemon.training.objective.loss import NoiseSchedule, add_noise, target
from daemon.training.objective.timesteps import draw_timesteps
from daemon.training.objective.weighting import min_snr_weight


class DrawnBatch(Protocol):
    """What is read of `daemon.training.data.batches.Batch`."""

    @property
    def latents_BCHW(self) -> Tensor: ...
    @property
    def time_ids_B6(self) -> Tensor: ...
    @property
    def captions(self) -> tuple[str | None, ...]: ...
    @property
    def num_class(self) -> int: ...


@dataclass(frozen=True)
class Inputs:
    """Tensors on the model's device, float32 but for the timesteps (int64). The last `num_class` rows are class images."""

    noisy_BCHW: Tensor
    target_BCHW: Tensor
    timesteps_B: Tensor
    time_ids_B6: Tensor
    weight_B: Tensor | None
    """Of the loss of each row; None: all alike."""
    captions: tuple[str | None, ...]
    num_class: int


def make_inputs(spec: TrainingSpec, schedule: NoiseSchedule, batch: DrawnBatch, step: int, micro_step: int, device: Any) -> Inputs:
    """Noise the batch: a pure function of the spec's seed and the place (step from 1, micro-step from 0)."""
    latents_BCHW = on_device(batch.latents_BCHW, device)
    noise_BCHW = on_device(draw_noise(spec, batch.latents_BCHW, step, micro_step), device)
    generator = _generator(spec.seed, "timesteps", step, micro_step)
    timesteps_B = on_device(draw_timesteps(spec, schedule.num_train_timesteps, len(latents_BCHW), generator), device)
    weight_B = None
    if spec.snr_gamma is not None:
        weight_B = min_snr_weight(schedule.alphas_cumprod_T, timesteps_B, spec.snr_gamma, schedule.prediction_type)
    return Inputs(
        noisy_BCHW=add_noise(schedule, latents_BCHW, noise_BCHW, timesteps_B),
        target_BCHW=target(schedule, latents_BCHW, noise_BCHW, timesteps_B),
        timesteps_B=timesteps_B,
        time_ids_B6=on_device(batch.time_ids_B6, device),
        weight_B=weight_B,
        captions=batch.captions,
        num_class=batch.num_class,
    )


def draw_noise(spec: TrainingSpec, latents_BCHW: Tensor, step: int, micro_step: int) -> Tensor:
    """Standard normal noise of the latents' shape, float32 on the CPU.

    Plus `noise_offset` times one number for each channel of each image ("Diffusion with Offset Noise", Guttenberg, 2023): brightness is
    learned too.
    """
    noise_BCHW = torch.randn(latents_BCHW.shape, generator=_generator(spec.seed, "noise", step, micro_step))
    if not spec.noise_offset:
        return noise_BCHW
    offset_BC11 = torch.randn((*latents_BCHW.shape[:2], 1, 1), generator=_generator(spec.seed, "noise_offset", step, micro_step))
    return noise_BCHW + spec.noise_offset * offset_BC11


def on_device(tensor: Tensor, device: Any) -> Tensor:
    """The tensor there, without waiting for what the device is still busy with."""
    device = torch.device(device)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _generator(seed: int, purpose: str, step: int, micro_step: int) -> torch.Generator:
    # On the CPU whatever the device: the same seed then draws the same noise everywhere.
    return torch.Generator().manual_seed(draw_seed(seed, purpose, step, micro_step))
