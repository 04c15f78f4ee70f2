"""Keeping an adapter inert for ordinary prompts: what the model says without it is what it should say with it.

Knows nothing of the training images' own loss, nor of how predictions are made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.data.draws import draw_seed


class SwitchedOff(Protocol):
    """What is asked of an adapter."""

    def off(self) -> AbstractContextManager[None]:
        """Predictions as if it had never been."""


def preservation_prompts(spec: TrainingSpec) -> tuple[str | None, ...]:
    """The prompts to keep: the spec's, or else no caption (None) and the class prompt where there is one."""
    return spec.preservation_prompts or ((None, spec.class_prompt) if spec.class_prompt else (None,))


def draw_prompts(prompts: tuple[str | None, ...], batch_size: int, seed: int, step: int, micro_step: int) -> tuple[str | None, ...]:
    """A prompt for each sample of a micro-step: a pure function of seed and place."""
    places = (draw_seed(seed, "preservation", step, micro_step, row) for row in range(batch_size))
    return tuple(prompts[place % len(prompts)] for place in places)


def preservation_loss(adapter: SwitchedOff, predict: Callable[[], Tensor]) -> Tensor:
    """Mean squared error between `predict()` with the adapter and without it, a float32 scalar. Gradients flow through the first alone."""
    with torch.no_grad(), adapter.off():
        wanted_BCHW = predict()
    return F.mse_loss(predict().float(), wanted_BCHW.float())
