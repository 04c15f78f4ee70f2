"""The training loop: a run that was killed goes on from its checkpoint to the very same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from daemon.toy.loop import Plan, Rank, averaged_weights, chunks, learning_rate_at, step_generator, steps_done, train


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
    stored = averaged_weights(tmp_path / "killed/tiny.safetensors", "model")
    assert torch.equal(stored["weight"], whole["model.weight"])


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    plan = Plan("tiny", 100, 1.0, tail_steps=40, warmup_steps=10)
    rates = [learning_rate_at(plan, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:60] == [1.0] * 50
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[100] == pytest.approx(0.0)


def test_every_step_of_every_rank_draws_its_own_noise() -> None:
    draws = {torch.rand(1, generator=step_generator(0, step, rank)).item() for step in range(20) for rank in range(2)}
    assert len(draws) == 40


def test_losses_are_logged_a_line_every_fifty_steps(tmp_path: Path) -> None:
    train_tiny(tmp_path, Plan("tiny", 100, 1e-2, tail_steps=8))
    lines = [json.loads(line) for line in (tmp_path / "tiny.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == [50, 100]
    assert lines[1]["loss"] < lines[0]["loss"]


def test_chunks_cover_everything_once() -> None:
    assert [(piece.start, piece.stop) for piece in chunks(10, 4)] == [(0, 4), (4, 8), (8, 10)]
