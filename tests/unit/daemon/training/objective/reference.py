"""What diffusers' `train_dreambooth_lora_sdxl.py` (examples/dreambooth, August 2026) computes for a loss, stated anew by diffusers' parts.

Said in the order of that script's training loop, at draws that are given. `as_it_is` has its faults too: the SNR weights of instance and
class rows mixed, prompts in the order i, c, i, c. Without it, class rows count plainly, as in `train_dreambooth_lora_sdxl_advanced.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor


@dataclass(frozen=True)
class Drawn:
    """A micro-step's draws. The second half of the rows are class images where there is prior preservation."""

    model_input: Tensor
    noise: Tensor
    timesteps: Tensor
    time_ids: Tensor
    prompt_embeds: Tensor
    pooled_prompt_embeds: Tensor


@dataclass(frozen=True)
class Reference:
    """The script's settings that its loss depends on."""

    unet: Any
    scheduler: DDPMScheduler
    with_prior_preservation: bool = False
    prior_loss_weight: float = 1.0
    snr_gamma: float | None = None
    as_it_is: bool = False

    def loss(self, drawn: Drawn) -> Tensor:
        """A scalar, with gradients."""
        noisy = self.scheduler.add_noise(drawn.model_input, drawn.noise, drawn.timesteps)
        conditions = {"time_ids": drawn.time_ids, "text_embeds": drawn.pooled_prompt_embeds}
        said = self.unet(noisy, drawn.timesteps, drawn.prompt_embeds, added_cond_kwargs=conditions, return_dict=False)[0].float()
        wanted = self._wanted(drawn).float()
        prior_loss = torch.zeros(())
        timesteps = drawn.timesteps
        if self.with_prior_preservation:
            said, said_of_class = said.chunk(2)
            wanted, wanted_of_class = wanted.chunk(2)
            prior_loss = F.mse_loss(said_of_class, wanted_of_class)
            timesteps = timesteps if self.as_it_is else timesteps.chunk(2)[0]
        if self.snr_gamma is None:
            loss = F.mse_loss(said, wanted)
        else:
            per_row = F.mse_loss(said, wanted, reduction="none").mean(dim=[1, 2, 3])
            loss = (per_row * self._snr_weights(timesteps)).mean()
        return loss + self.prior_loss_weight * prior_loss if self.with_prior_preservation else loss

    def _wanted(self, drawn: Drawn) -> Tensor:
        if self.scheduler.config.prediction_type == "epsilon":
            return drawn.noise
        return self.scheduler.get_velocity(drawn.model_input, drawn.noise, drawn.timesteps)

    def _snr_weights(self, timesteps: Tensor) -> Tensor:
        snr = compute_snr(self.scheduler, timesteps)
        weights = torch.minimum(snr, torch.full_like(snr, self.snr_gamma)) / snr
        return weights + 1 if self.scheduler.config.prediction_type == "v_prediction" else weights


def prompts_as_the_script_has_them(instance: Tensor, of_class: Tensor, batch_size: int) -> Tensor:
    """Both prompts, over and over: i, c, i, c, ... whatever the order of the images."""
    return torch.cat([instance, of_class]).repeat(batch_size, *[1] * (instance.dim() - 1))
