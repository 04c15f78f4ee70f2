from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import torch
from diffusers import DDPMScheduler

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.data.draws import draw_seed
from daemon.training.objective.inputs import draw_noise, make_inputs, on_device
from daemon.training.objective.loss import noise_schedule
from daemon.training.objective.weighting import min_snr_weight

SPEC = TrainingSpec(seed=3)
SHAPE = (4, 4, 8, 8)


@dataclass(frozen=True)
class Batch:
    latents_BCHW: torch.Tensor
    time_ids_B6: torch.Tensor
    captions: tuple[str | None, ...] = ("wrong", None, "a toy", "a toy")
    num_class: int = 2


BATCH = Batch(torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)), torch.arange(24.0).view(4, 6))


def generator(purpose: str, step: int, micro_step: int) -> torch.Generator:
    return torch.Generator().manual_seed(draw_seed(3, purpose, step, micro_step))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_they_are_what_the_scheduler_makes_of_the_draws_of_their_place(prediction_type: str) -> None:
    scheduler = DDPMScheduler(prediction_type=prediction_type)
    found = make_inputs(SPEC, noise_schedule(scheduler), BATCH, 5, 1, "cpu")
    noise = torch.randn(SHAPE, generator=generator("noise", 5, 1))
    timesteps = torch.randint(0, 1000, (4,), generator=generator("timesteps", 5, 1))
    assert torch.equal(found.timesteps_B, timesteps)
    assert torch.equal(found.noisy_BCHW, scheduler.add_noise(BATCH.latents_BCHW, noise, timesteps))
    velocity = prediction_type == "v_prediction"
    assert torch.equal(found.target_BCHW, scheduler.get_velocity(BATCH.latents_BCHW, noise, timesteps) if velocity else noise)
    assert torch.equal(found.time_ids_B6, BATCH.time_ids_B6)
    assert (found.captions, found.num_class, found.weight_B) == (BATCH.captions, 2, None)


@pytest.mark.parametrize("place", [(6, 1), (5, 0)])
def test_another_place_is_another_draw(place: tuple[int, int]) -> None:
    schedule = noise_schedule(DDPMScheduler())
    here, there = make_inputs(SPEC, schedule, BATCH, 5, 1, "cpu"), make_inputs(SPEC, schedule, BATCH, *place, "cpu")
    assert not torch.equal(here.target_BCHW, there.target_BCHW)
    assert not torch.equal(here.timesteps_B, there.timesteps_B)


def test_rows_are_weighted_by_their_own_timesteps_where_asked() -> None:
    schedule = noise_schedule(DDPMScheduler())
    found = make_inputs(msgspec.structs.replace(SPEC, snr_gamma=5.0), schedule, BATCH, 1, 0, "cpu")
    weights: Any = found.weight_B
    for weight, timestep in zip(weights, found.timesteps_B, strict=True):
        assert float(weight) == float(min_snr_weight(schedule.alphas_cumprod_T, timestep[None], 5.0, "epsilon"))


def test_the_noise_offset_moves_whole_channels_and_nothing_else() -> None:
    plain, offset = (draw_noise(msgspec.structs.replace(SPEC, noise_offset=value), BATCH.latents_BCHW, 2, 0) for value in (0.0, 0.1))
    moved = (offset - plain).view(4, 4, -1)
    assert torch.allclose(moved, moved[:, :, :1].expand_as(moved), atol=1e-6)
    shift = moved[:, :, 0]
    assert len(shift.flatten().unique()) == 16
    assert torch.allclose(shift, 0.1 * torch.randn((4, 4, 1, 1), generator=generator("noise_offset", 2, 0))[:, :, 0, 0], atol=1e-6)


def test_on_the_cpu_nothing_is_copied() -> None:
    assert on_device(BATCH.latents_BCHW, "cpu") is BATCH.latents_BCHW
