"""A model of one number: what it predicts is the noisy latents times its scale, the adapter adds to the scale by prompt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from daemon.training.monitoring.held_out import Denoiser
from daemon.training.objective.loss import NoiseSchedule

SCHEDULE = NoiseSchedule(torch.linspace(0.999, 0.01, 1000), "epsilon")


class FakeModel:
    def __init__(self, moves: dict[str | None, float]) -> None:
        self.moves, self.is_off = moves, False
        self.num_predictions = 0

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        self.is_off = True
        yield
        self.is_off = False

    def encode(self, captions: Sequence[str | None]) -> Tensor:
        return torch.tensor([0.0 if self.is_off else self.moves.get(caption, 0.0) for caption in captions])

    def predict(self, noisy_BCHW: Tensor, timesteps_B: Tensor, conditioning: Any, time_ids_B6: Tensor) -> Tensor:
        self.num_predictions += 1
        return noisy_BCHW * (1 + conditioning.view(-1, 1, 1, 1))

    def denoiser(self) -> Denoiser:
        return Denoiser(self.predict, self.encode, self.off, SCHEDULE, torch.device("cpu"))


def batches(*sizes: int, caption: str | None = "wrong") -> tuple[Any, ...]:
    """Held-out batches of so many images each, the same images whatever the sizes."""
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(sum(sizes), 4, 8, 8, generator=draw)
    ids = torch.full((sum(sizes), 6), 64.0)
    return tuple(
        SimpleNamespace(latents_BCHW=part, time_ids_B6=some, captions=(caption,) * len(part))
        for part, some in zip(latents.split(sizes), ids.split(sizes), strict=True)
    )
