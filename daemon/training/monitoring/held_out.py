"""The held-out loss: the plain denoising loss at fixed images, noise and timesteps, so that only the weights change it.

Knows nothing of when it is measured, nor how the weights in place came about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.data.draws import draw_seed
from daemon.training.objective.loss import NoiseSchedule, add_noise, target
from daemon.training.objective.timesteps import timestep_range

NUM_TIMESTEPS = 4
"""Noise levels that every held-out image is looked at."""


class HeldOutBatch(Protocol):
    """What is read of `daemon.training.data.batches.Batch`."""

    @property
    def latents_BCHW(self) -> Tensor: ...
    @property
    def time_ids_B6(self) -> Tensor: ...
    @property
    def captions(self) -> tuple[str | None, ...]: ...


@dataclass(frozen=True)
class Denoiser:
    """The model in training as measurements see it: with the weights that are in place when it is asked."""

    predict: Callable[[Tensor, Tensor, Any, Tensor], Tensor]
    """(noisy latents (B, C, H, W), timesteps (B,), `Conditioning`, time ids (B, 6)) -> what the UNet says, (B, C, H, W)."""
    encode: Callable[[Sequence[str | None]], Any]
    """Captions -> `Conditioning` on the device; None is the pipeline's unconditional one."""
    off: Callable[[], AbstractContextManager[Any]]
    """While it lasts, predictions are as if the adapter had never been."""
    schedule: NoiseSchedule
    device: Any


def spread_timesteps(spec: TrainingSpec, num_train_timesteps: int, image: int) -> tuple[int, ...]:
    """Noise levels for the `image`-th (from 0) held-out image: `NUM_TIMESTEPS` of them, one in every equal part of the trained range.

    Where in its part moves on from image to image as van der Corput's sequence, so that many images cover the range evenly.
    """
    low, high = timestep_range(spec, num_train_timesteps)
    offset = _radical_inverse(image + 1)
    return tuple(low + int((part + offset) / NUM_TIMESTEPS * (high - low)) for part in range(NUM_TIMESTEPS))


@torch.no_grad()
def held_out_loss(denoiser: Denoiser, spec: TrainingSpec, batches: Sequence[HeldOutBatch], check: Callable[[], None]) -> float:
    """Mean over images and noise levels of the squared error, unweighted whatever the training's weighting: curves of different settings
    compare. `check` is called before every forward pass and may raise. The noise is a function of image and noise level alone."""
    errors: list[Tensor] = []
    num_images = 0
    for batch in batches:
        levels = fixed_timesteps(denoiser, spec, num_images, len(batch.captions))
        conditioning = denoiser.encode(batch.captions)
        latents_BCHW, time_ids_B6 = batch.latents_BCHW.to(denoiser.device), batch.time_ids_B6.to(denoiser.device)
        for level, timesteps_B in enumerate(levels):
            check()
            noise_BCHW = fixed_noise(batch.latents_BCHW, num_images, level).to(denoiser.device)
            noisy_BCHW = add_noise(denoiser.schedule, latents_BCHW, noise_BCHW, timesteps_B)
            prediction_BCHW = denoiser.predict(noisy_BCHW, timesteps_B, conditioning, time_ids_B6)
            wanted_BCHW = target(denoiser.schedule, latents_BCHW, noise_BCHW, timesteps_B)
            error_BCHW = F.mse_loss(prediction_BCHW.float(), wanted_BCHW.float(), reduction="none")
            errors.append(error_BCHW.mean(dim=(1, 2, 3)).cpu())
        num_images += len(batch.captions)
    return float(torch.cat(errors).double().mean())


def fixed_timesteps(denoiser: Denoiser, spec: TrainingSpec, first_image: int, num_images: int) -> Tensor:
    """Noise levels of so many images from `first_image` on: (NUM_TIMESTEPS, B) int64."""
    num_train_timesteps = denoiser.schedule.num_train_timesteps
    rows = [spread_timesteps(spec, num_train_timesteps, first_image + index) for index in range(num_images)]
    return torch.tensor(rows, dtype=torch.int64, device=denoiser.device).T.contiguous()


def fixed_noise(latents_BCHW: Tensor, first_image: int, level: int) -> Tensor:
    """Noise as the latents' shape, float32 on the CPU: of each image its own, the same in other batches and for other seeds."""
    seeds = [draw_seed(0, "held_out", "noise", first_image + row, level) for row in range(len(latents_BCHW))]
    return torch.stack([torch.randn(latents_BCHW.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def _radical_inverse(number: int) -> float:
    """van der Corput's sequence in base 2 (1935): 1/2, 1/4, 3/4, 1/8, ... for 1, 2, 3, 4, ..."""
    found, share = 0.0, 0.5
    while number:
        found += share * (number & 1)
        number >>= 1
        share /= 2
    return found
