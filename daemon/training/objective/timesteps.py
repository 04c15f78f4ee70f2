"""Which noise levels a batch is trained on: functions of the spec and of a generator. Knows nothing of latents, models or steps."""

from __future__ import annotations

import torch
from torch import Tensor

from daemon.protocol.training_spec import TrainingSpec


def draw_timesteps(spec: TrainingSpec, num_train_timesteps: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """(B,) int64 on the CPU, min_timestep <= t < max_timestep; large is noisy.

    `uniform` draws as `train_dreambooth_lora_sdxl.py` does. `logit_normal` (Esser et al., 2024, section 3.1): the sigmoid of a normal
    number is the place in the range, so that `logit_mean` 0 prefers its middle.
    """
    low, high = timestep_range(spec, num_train_timesteps)
    if spec.timestep_sampling == "uniform":
        return torch.randint(low, high, (batch_size,), generator=generator)
    places_B = torch.sigmoid(spec.logit_mean + spec.logit_std * torch.randn(batch_size, generator=generator))
    # The sigmoid of a large number rounds to 1, which is behind the end.
    return (low + (places_B * (high - low)).long()).clamp(max=high - 1)


def timestep_range(spec: TrainingSpec, num_train_timesteps: int) -> tuple[int, int]:
    """From this timestep on, and below that one: the spec's range as far as the model's schedule goes, never empty."""
    low = min(spec.min_timestep, num_train_timesteps - 1)
    return low, max(low + 1, min(spec.max_timestep, num_train_timesteps))
