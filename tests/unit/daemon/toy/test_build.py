"""The build: a run that was killed goes on from its checkpoint to the very same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from daemon.toy import build
from daemon.toy.architecture import make_vae, normalise_latents, refiner_from_base
from daemon.toy.checkpoint import load_tensors
from daemon.toy.loop import Plan, Rank, learning_rate_at, steps_done, train
from daemon.toy.train_unet import base_parts, train_base, train_refiner
from daemon.toy.train_vae import finish_vae, train_vae, write_latents

NUM_PICTURES = 12


class Killed(BaseException):
    """Stands for kill -9: nothing gets to clean up."""


def train_tiny(folder: Path, plan: Plan, killed_at: int | None = None) -> dict[str, Tensor]:
    """A linear model on seeded noise; optionally dies inside a step."""
    torch.manual_seed(plan.seed)
    model = nn.Linear(4, 4)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        if step == killed_at:
            raise Killed
        inputs = torch.randn(8, 4, generator=generator)
        return (model(inputs) - inputs.flip(1)).square().mean()

    return train(plan, {"model": model}, loss, Rank(), folder)


def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    plan = Plan("tiny", 20, 1e-2, tail_steps=8, warmup_steps=2, save_every=3)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = train_tiny(tmp_path / "whole", plan)
    with pytest.raises(Killed):
        train_tiny(tmp_path / "killed", plan, killed_at=13)
    assert steps_done(tmp_path / "killed/tiny.safetensors") == 12
    resumed = train_tiny(tmp_path / "killed", plan)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    plan = Plan("tiny", 100, 1.0, tail_steps=40, warmup_steps=10)
    rates = [learning_rate_at(plan, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:60] == [1.0] * 50
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[100] == pytest.approx(0.0)


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


@pytest.fixture(scope="module")
def work_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with pictures, a VAE of one step and its latents."""
    folder = tmp_path_factory.mktemp("work")
    build.write_pictures(folder, NUM_PICTURES, seed=0)
    train_vae(Plan("vae", 1, 1e-3, tail_steps=1), 1, Rank(), folder)
    finish_vae(folder, "cpu")
    write_latents(folder, Rank())
    return folder


def test_training_the_base_goes_on_to_the_same_bits(work_path: Path) -> None:
    three = Plan("base", 3, 1e-3, tail_steps=1, save_every=1)
    train_base(three, 2, Rank(), work_path)
    whole, _ = load_tensors(work_path / "base.safetensors")
    (work_path / "base.safetensors").unlink()
    # As a kill after two steps leaves it: the same plan, its checkpoint at step 2.
    train_base(Plan("base", 2, 1e-3, tail_steps=0, save_every=1), 2, Rank(), work_path)
    train_base(three, 2, Rank(), work_path)
    resumed, _ = load_tensors(work_path / "base.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_refiner_starts_as_the_base_and_trains(work_path: Path) -> None:
    base = base_parts(work_path)["unet"]
    refiner = refiner_from_base(base)
    assert torch.equal(refiner.conv_in.weight, base.conv_in.weight)
    assert refiner.add_embedding.linear_1.in_features == 5 * 32 + 96
    train_refiner(Plan("refiner", 1, 1e-3, tail_steps=1), 2, Rank(), work_path)
    assert steps_done(work_path / "refiner.safetensors") == 1


def test_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no stage is called"):
        build.main(["--work-dir", str(tmp_path), "--stages", "polish"])
