"""Training base and refiner: exact in its mathematics, the same bits after a kill."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from daemon.toy.architecture import make_scheduler
from daemon.toy.checkpoint import load_tensors
from daemon.toy.loop import Plan, Rank, steps_done
from daemon.toy.train_unet import (
    make_tokenizers,
    refiner_unet,
    stratified_timesteps,
    token_ids,
    train_base,
    train_refiner,
    v_prediction_loss,
)


@pytest.fixture
def work_path(toy_work_path: Path, tmp_path: Path) -> Path:
    """A copy of its own: these tests leave checkpoints."""
    return Path(shutil.copytree(toy_work_path, tmp_path / "toy"))


class Oracle:
    """A UNet that knows clean latents and noise, and answers with the velocity."""

    def __init__(self, latents: Tensor, noise: Tensor) -> None:
        self.latents, self.noise = latents, noise

    def __call__(self, noised: Tensor, timesteps: Tensor, text: Tensor, added_cond_kwargs: dict[str, Tensor]) -> Oracle:
        alpha = make_scheduler().alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        assert torch.allclose(noised, alpha.sqrt() * self.latents + (1 - alpha).sqrt() * self.noise)
        self.sample = alpha.sqrt() * self.noise - (1 - alpha).sqrt() * self.latents
        return self


def test_the_velocity_is_what_the_loss_wants() -> None:
    latents, noise = torch.randn(3, 4, 16, 16), torch.randn(3, 4, 16, 16)
    oracle = Oracle(latents, noise)
    assert v_prediction_loss(oracle, latents, torch.tensor([0, 500, 999]), noise, torch.zeros(3), {}) == 0  # type: ignore[arg-type]


def test_timesteps_spread_over_the_whole_schedule() -> None:
    timesteps = stratified_timesteps(10, 1000, torch.Generator().manual_seed(0))
    assert sorted(timestep // 100 for timestep in timesteps.tolist()) == list(range(10))


def test_captions_become_77_tokens(work_path: Path) -> None:
    ids = token_ids(make_tokenizers(work_path)[0], ["a red circle", "wrong"])
    assert ids.shape == (2, 77)


def test_training_the_base_goes_on_to_the_same_bits(work_path: Path) -> None:
    three = Plan("base", 3, 1e-3, tail_steps=1, save_every=1)
    train_base(three, 2, Rank(), work_path)
    whole, _ = load_tensors(work_path / "base.safetensors")
    (work_path / "base.safetensors").unlink()
    # As a kill after two steps leaves it: its checkpoint at step 2.
    train_base(Plan("base", 2, 1e-3, tail_steps=0, save_every=1), 2, Rank(), work_path)
    train_base(three, 2, Rank(), work_path)
    resumed, _ = load_tensors(work_path / "base.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_refiner_trains_from_the_base(work_path: Path) -> None:
    train_refiner(Plan("refiner", 1, 1e-3, tail_steps=1), 2, Rank(), work_path)
    assert steps_done(work_path / "refiner.safetensors") == 1
    assert refiner_unet(work_path).conv_out.weight.abs().max() > 0
