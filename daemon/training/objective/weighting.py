"""How much each sample's error counts, by its noise level. Knows nothing of batches, class images or models."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def signal_to_noise(alphas_cumprod_T: Tensor, timesteps_B: Tensor) -> Tensor:
    """SNR(t) = a_t / (1 - a_t) (Hang et al., 2023, section 3.1): (T,), (B,) int64 -> (B,) float32; 0 where nothing is left."""
    signal_B = (alphas_cumprod_T**0.5)[timesteps_B].float()
    noise_B = ((1.0 - alphas_cumprod_T) ** 0.5)[timesteps_B].float()
    return (signal_B / noise_B) ** 2


def min_snr_weight(
    alphas_cumprod_T: Tensor, timesteps_B: Tensor, gamma: float, prediction_type: Literal["epsilon", "v_prediction"]
) -> Tensor:
    """Min-SNR-gamma loss weight (Hang et al., 2023, section 3.4): (T,), (B,) int64 -> (B,) float32.

    epsilon: min(SNR, gamma) / SNR, in 0..1. v-prediction: one more, diffusers' floor of 1 (`train_dreambooth_lora_sdxl.py`), in 1..2; the
    paper itself has min(SNR, gamma) / (SNR + 1) there.
    """
    # gamma / SNR, not min(SNR, gamma) / SNR: equal, and 1 instead of 0 / 0 where a schedule ends without any signal.
    weight_B = torch.clamp(gamma / signal_to_noise(alphas_cumprod_T, timesteps_B), max=1.0)
    return weight_B + 1.0 if prediction_type == "v_prediction" else weight_B
