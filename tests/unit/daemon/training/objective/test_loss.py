from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler
from objective.reference import Drawn, Reference

from daemon.protocol.errors import NegError
from daemon.training.objective.conditioning import Conditioning
from daemon.training.objective.loss import add_noise, denoising_loss, noise_schedule, predict, target
from daemon.training.objective.weighting import min_snr_weight


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
    assert float(denoising_loss(right, right)) == 0.0
    assert float(denoising_loss(right + 0.5, right)) == pytest.approx(0.25)


def test_the_unet_is_asked_as_sdxl_wants_it() -> None:
    conditioning = Conditioning(torch.zeros(5, 3, 2), torch.ones(5, 2))
    latents, _, timesteps = draws()
    time_ids = torch.zeros(5, 6)

    def unet(noisy: torch.Tensor, at: torch.Tensor, embeds: torch.Tensor, **options: object) -> object:
        assert options["return_dict"] is False
        assert options["added_cond_kwargs"] == {"text_embeds": conditioning.pooled_prompt_embeds, "time_ids": time_ids}
        assert at is timesteps
        assert embeds is conditioning.prompt_embeds
        return (noisy + 1,)

    assert torch.equal(predict(unet, latents, timesteps, conditioning, time_ids), latents + 1)


def rows(*errors: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A prediction that is wrong by so much in each row, and what was wanted."""
    wanted = torch.randn((len(errors), 4, 8, 8), generator=torch.Generator().manual_seed(1))
    return wanted + torch.tensor(errors).view(-1, 1, 1, 1), wanted


def test_class_rows_count_by_their_weight_beside_the_instance_rows() -> None:
    said, wanted = rows(1.0, 3.0, 2.0, 0.0)
    assert float(denoising_loss(said, wanted, None, 2, 0.5)) == pytest.approx((1 + 9) / 2 + 0.5 * (4 + 0) / 2)
    assert float(denoising_loss(said, wanted, None, 2, 0.0)) == pytest.approx(5.0)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_third_defect_every_instance_row_has_its_own_weight_beside_class_rows(batch_size: int) -> None:
    errors, weights = (1.0, 3.0, 2.0, 5.0), torch.tensor([0.5, 2.0, 7.0, 9.0])
    if batch_size == 1:
        said, wanted = rows(errors[0], errors[2])
        loss = denoising_loss(said, wanted, weights[[0, 2]], 1, 0.5)
        assert float(loss) == pytest.approx(0.5 * 1 + 0.5 * 4)
    else:
        said, wanted = rows(*errors)
        loss = denoising_loss(said, wanted, weights, 2, 0.5)
        assert float(loss) == pytest.approx((0.5 * 1 + 2.0 * 9) / 2 + 0.5 * (4 + 25) / 2)


def test_the_reference_as_it_is_gets_the_third_defect_wrong() -> None:
    """The script weighs instance rows by the class rows' timesteps too at batch 1, and crashes at batch 2."""
    scheduler = DDPMScheduler()

    def unet(noisy: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor]:
        return (torch.zeros_like(noisy),)

    def drawn(*timesteps: int) -> Drawn:
        size = len(timesteps)
        noise = torch.ones(size, 4, 8, 8)
        return Drawn(
            torch.zeros_like(noise), noise, torch.tensor(timesteps), torch.zeros(size, 6), torch.zeros(size, 1, 1), torch.zeros(size, 1)
        )

    def ours(drawn: Drawn) -> float:
        schedule = noise_schedule(scheduler)
        weight = min_snr_weight(schedule.alphas_cumprod_T, drawn.timesteps, 5.0, "epsilon")
        return float(denoising_loss(torch.zeros_like(drawn.noise), drawn.noise, weight, len(weight) // 2, 1.0))

    as_it_is = Reference(unet, scheduler, with_prior_preservation=True, snr_gamma=5.0, as_it_is=True)
    corrected = Reference(unet, scheduler, with_prior_preservation=True, snr_gamma=5.0)
    # Of one row: (w(10) + w(900)) / 2 in place of w(10).
    assert float(as_it_is.loss(drawn(10, 900))) > 1.4
    assert ours(drawn(10, 900)) == pytest.approx(float(corrected.loss(drawn(10, 900)))) == pytest.approx(1.0, abs=0.1)
    with pytest.raises(RuntimeError, match="size of tensor"):
        as_it_is.loss(drawn(10, 500, 900, 20))
    assert ours(drawn(10, 500, 900, 20)) == pytest.approx(float(corrected.loss(drawn(10, 500, 900, 20))))


def test_models_with_another_target_are_refused_in_words() -> None:
    with pytest.raises(NegError, match="'sample' is not trained"):
        noise_schedule(DDPMScheduler(prediction_type="sample"))
    edm = type("EDMEulerScheduler", (SimpleNamespace,), {})(config=SimpleNamespace())
    with pytest.raises(NegError, match="EDMEulerScheduler"):
        noise_schedule(edm)
