"""The denoising loss of `train_dreambooth_lora_sdxl.py` (diffusers), as pure functions of latents, noise and timesteps.

Letters: B batch, C latent channels, H W latent height and width, T training timesteps. Knows nothing of files, jobs or optimizers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from daemon.protocol.errors import NegError
from daemon.training.objective.conditioning import Conditioning


@dataclass(frozen=True)
class NoiseSchedule:
    """How much signal is left at each timestep, and what the UNet predicts."""

    alphas_cumprod_T: Tensor
    """float32, from near 1 to near 0."""
    prediction_type: Literal["epsilon", "v_prediction"]

    @property
    def num_train_timesteps(self) -> int:
        return len(self.alphas_cumprod_T)


def noise_schedule(noise_scheduler: Any, device: Any = "cpu") -> NoiseSchedule:
    """The training schedule of any diffusers scheduler's config; raises `NegError` `incompatible` for targets SDXL does not have."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    config = noise_scheduler.config
    name = type(noise_scheduler).__name__
    if name.startswith("EDM"):
        raise NegError("incompatible", f"Models with a {name} are not trained here.", "Use a base with epsilon or v prediction.")
    if config.prediction_type not in ("epsilon", "v_prediction"):
        raise NegError("incompatible", f"prediction_type {config.prediction_type!r} is not trained here.", "Use epsilon or v_prediction.")
    alphas_cumprod_T = DDPMScheduler.from_config(config).alphas_cumprod
    return NoiseSchedule(alphas_cumprod_T.to(device, torch.float32), config.prediction_type)


def add_noise(schedule: NoiseSchedule, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
    """Forward diffusion (Ho et al., 2020, eq. 4): sqrt(a_t) latents + sqrt(1 - a_t) noise."""
    signal_B111, sigma_B111 = _scales(schedule, timesteps_B)
    return signal_B111 * latents_BCHW + sigma_B111 * noise_BCHW


def target(schedule: NoiseSchedule, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
    """What the UNet should predict: the noise, or v = sqrt(a_t) noise - sqrt(1 - a_t) latents (Salimans and Ho, 2022)."""
    if schedule.prediction_type == "epsilon":
        return noise_BCHW
    signal_B111, sigma_B111 = _scales(schedule, timesteps_B)
    return signal_B111 * noise_BCHW - sigma_B111 * latents_BCHW


def predict(unet: Any, noisy_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning, time_ids_B6: Tensor) -> Tensor:
    """What the UNet says of noisy latents: (B, C, H, W) in the dtype it computes in."""
    added = {"text_embeds": conditioning.pooled_prompt_embeds, "time_ids": time_ids_B6}
    return unet(noisy_BCHW, timesteps_B, conditioning.prompt_embeds, added_cond_kwargs=added, return_dict=False)[0]


def denoising_loss(
    prediction_BCHW: Tensor,
    target_BCHW: Tensor,
    weight_B: Tensor | None = None,
    num_class: int = 0,
    prior_loss_weight: float = 1.0,
) -> Tensor:
    """Mean squared error in float32, a scalar: of the instance rows, plus `prior_loss_weight` times that of the last `num_class` rows.

    `weight_B` weights the instance rows, each by its own; class rows count plainly, as in diffusers'
    `train_dreambooth_lora_sdxl_advanced.py` (`train_dreambooth_lora_sdxl.py` mixes the weights of both).
    """
    num_instance = len(prediction_BCHW) - num_class
    weights = None if weight_B is None else weight_B[:num_instance]
    loss = _mean_squared_error(prediction_BCHW[:num_instance], target_BCHW[:num_instance], weights)
    if not num_class:
        return loss
    return loss + prior_loss_weight * _mean_squared_error(prediction_BCHW[num_instance:], target_BCHW[num_instance:], None)


def _mean_squared_error(prediction_BCHW: Tensor, target_BCHW: Tensor, weight_B: Tensor | None) -> Tensor:
    if weight_B is None:
        return F.mse_loss(prediction_BCHW.float(), target_BCHW.float())
    error_BCHW = F.mse_loss(prediction_BCHW.float(), target_BCHW.float(), reduction="none")
    return (error_BCHW.mean(dim=(1, 2, 3)) * weight_B).mean()


def _scales(schedule: NoiseSchedule, timesteps_B: Tensor) -> tuple[Tensor, Tensor]:
    alphas_B111 = schedule.alphas_cumprod_T[timesteps_B].view(-1, 1, 1, 1)
    return alphas_B111**0.5, (1 - alphas_B111) ** 0.5
