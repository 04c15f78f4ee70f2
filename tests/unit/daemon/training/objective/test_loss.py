from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler

from daemon.protocol.errors import NegError
from daemon.training.objective.loss import Conditioning, add_noise, denoising_loss, noise_schedule, target


def draws() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    shape = (5, 4, 8, 8)
    return torch.randn(shape, generator=draw), torch.randn(shape, generator=draw), torch.tensor([0, 1, 500, 998, 999])


@pytest.mark.parametrize("kind", [DDPMScheduler, EulerDiscreteScheduler])
@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear"])
def test_noise_and_velocity_are_those_of_ddpm_whatever_scheduler_the_model_has(kind: type, beta_schedule: str) -> None:
    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": beta_schedule}
    ddpm = DDPMScheduler(prediction_type="v_prediction", **options)
    schedule = noise_schedule(kind(prediction_type="v_prediction", **options))
    latents, noise, timesteps = draws()
    assert torch.equal(add_noise(schedule, latents, noise, timesteps), ddpm.add_noise(latents, noise, timesteps))
    assert torch.equal(target(schedule, latents, noise, timesteps), ddpm.get_velocity(latents, noise, timesteps))
    assert schedule.num_train_timesteps == 1000


def test_an_epsilon_model_predicts_the_noise() -> None:
    schedule = noise_schedule(DDPMScheduler(prediction_type="epsilon"))
    latents, noise, timesteps = draws()
    assert torch.equal(target(schedule, latents, noise, timesteps), noise)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_its_square(prediction_type: str) -> None:
    schedule = noise_schedule(DDPMScheduler(prediction_type=prediction_type))
    latents, noise, timesteps = draws()
    right = target(schedule, latents, noise, timesteps)
    conditioning = Conditioning(torch.zeros(1, 3, 2), torch.zeros(1, 2)).repeat(5)
    time_ids = torch.zeros(5, 6)
    for error, loss in ((0.0, 0.0), (0.5, 0.25)):

        def unet(noisy: torch.Tensor, at: torch.Tensor, embeds: torch.Tensor, error: float = error, **options: object) -> object:
            assert torch.equal(noisy, add_noise(schedule, latents, noise, timesteps))
            assert (embeds.shape, options["added_cond_kwargs"]["text_embeds"].shape) == ((5, 3, 2), (5, 2))
            return ((right + error).to(torch.float32),)

        assert float(denoising_loss(unet, schedule, latents, noise, timesteps, conditioning, time_ids)) == pytest.approx(loss)


def test_models_with_another_target_are_refused_in_words() -> None:
    with pytest.raises(NegError, match="'sample' is not trained"):
        noise_schedule(DDPMScheduler(prediction_type="sample"))
    edm = type("EDMEulerScheduler", (SimpleNamespace,), {})(config=SimpleNamespace())
    with pytest.raises(NegError, match="EDMEulerScheduler"):
        noise_schedule(edm)
