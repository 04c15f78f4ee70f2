"""The parts: SDXL's shapes in small, residual branches that start at nothing, a refiner that starts as the base."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from daemon.toy.architecture import make_scheduler, make_unet, make_vae, normalise_latents, refiner_from_base
from daemon.toy.train_unet import base_parts


def test_the_vae_makes_four_channels_of_sixteen_pixels() -> None:
    vae = make_vae()
    posterior = vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist
    assert posterior.mean.shape == (1, 4, 16, 16)
    assert posterior.logvar.detach().unique().tolist() == [-6.0]
    assert vae.decode(posterior.mean).sample.shape == (1, 3, 64, 64)


def test_an_untrained_unet_predicts_nothing() -> None:
    torch.manual_seed(0)
    unet = make_unet()
    added = {"text_embeds": torch.randn(2, 96), "time_ids": torch.randn(2, 6)}
    latents, text = torch.randn(2, 4, 16, 16), torch.randn(2, 77, 160)
    assert unet(latents, torch.tensor([1, 999]), text, added_cond_kwargs=added).sample.abs().max() == 0


def test_folding_the_latents_statistics_leaves_the_pictures_as_they_are() -> None:
    torch.manual_seed(0)
    vae, pixels = make_vae().eval(), torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist.mode()
        before = vae.decode(latents).sample
        normalise_latents(vae, latents)
        folded = vae.encode(pixels).latent_dist.mode()
        after = vae.decode(folded).sample
    assert folded.mean((0, 2, 3)).abs().max() < 1e-4
    assert (folded.std((0, 2, 3)) - 1).abs().max() < 1e-3
    assert (before - after).abs().max() < 1e-3


def test_the_refiner_starts_as_the_base(toy_work_path: Path) -> None:
    base = base_parts(toy_work_path)["unet"]
    refiner = refiner_from_base(base)
    assert torch.equal(refiner.conv_in.weight, base.conv_in.weight)
    assert refiner.add_embedding.linear_1.in_features == 5 * 32 + 96
    assert refiner.config.cross_attention_dim == 96


@pytest.mark.parametrize(("num_steps", "base_steps"), [(10, 8), (25, 20), (40, 32)])
def test_the_schedule_splits_exactly(num_steps: int, base_steps: int) -> None:
    scheduler = make_scheduler()
    scheduler.set_timesteps(num_steps)
    assert (scheduler.timesteps >= 200).sum() == base_steps
