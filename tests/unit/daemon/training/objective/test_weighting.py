from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from hypothesis import given
from hypothesis import strategies as st

from daemon.training.objective.weighting import min_snr_weight, signal_to_noise

SCHEDULER = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
EVERY = torch.arange(1000)


def test_snr_is_diffusers_own_and_falls() -> None:
    snr = signal_to_noise(SCHEDULER.alphas_cumprod, EVERY)
    assert torch.equal(snr, compute_snr(SCHEDULER, EVERY))
    assert bool((snr.diff() < 0).all())


@given(gamma=st.floats(0.01, 100.0))
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_weight_is_that_of_the_paper_and_v_has_a_floor_of_one(prediction_type: Any, gamma: float) -> None:
    snr = compute_snr(SCHEDULER, EVERY).double()
    weight = min_snr_weight(SCHEDULER.alphas_cumprod, EVERY, gamma, prediction_type)
    wanted = snr.clamp(max=gamma) / snr + (1 if prediction_type == "v_prediction" else 0)
    assert weight.dtype == torch.float32
    assert torch.allclose(weight.double(), wanted, rtol=1e-6)


def test_a_schedule_that_ends_without_signal_gives_numbers() -> None:
    scheduler = DDPMScheduler(rescale_betas_zero_snr=True, beta_schedule="scaled_linear")
    weight = min_snr_weight(scheduler.alphas_cumprod, torch.tensor([998, 999]), 5.0, "epsilon")
    assert weight.tolist() == [1.0, 1.0]
