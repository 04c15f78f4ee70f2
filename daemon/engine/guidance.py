"""Classifier-free guidance over several pictures at once: which rows the UNet is asked for at a step, and what becomes of its answers.

Knows nothing of adapters, schedulers or how embeddings are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Branch = Literal["negative", "positive"]


class Row(NamedTuple):
    """One row of the UNet's batch: a picture, by its number in the batch, and the branch of its guidance."""

    picture: int
    branch: Branch


@dataclass(frozen=True)
class Guidance:
    """`guidance_scale` at the steps of `window` (numbers over base and refiner together, from 0), 1 at all others."""

    guidance_scale: float
    window: range

    def is_on(self, step: int) -> bool:
        """Whether a step needs the negative branch; as diffusers has it, not at scales of 1 or less."""
        return self.guidance_scale > 1 and step in self.window


def guidance_window(num_steps: int, start: float = 0.0, end: float = 1.0) -> range:
    """The guided ones of `num_steps` steps over base and refiner: from round(num_steps x start) to before round(num_steps x end).

    An interval of guidance (Kynkaanniemi et al., 2024, arXiv 2404.07724), counted in steps rather than noise levels.
    """
    return range(round(num_steps * start), round(num_steps * end))


def rows_at(step: int, guidances: Sequence[Guidance]) -> tuple[Row, ...]:
    """Negative branches of the pictures that are guided at this step, then the positive ones of all; one picture: diffusers' order."""
    guided = [Row(number, "negative") for number, guidance in enumerate(guidances) if guidance.is_on(step)]
    return (*guided, *(Row(number, "positive") for number in range(len(guidances))))


def combine(predicted_RCHW: Tensor, rows: Sequence[Row], guidances: Sequence[Guidance]) -> Tensor:
    """Predictions of R rows -> (B, C, H, W) in the pictures' order: negative + scale x (positive - negative), or the positive alone."""
    by_row = dict(zip(rows, predicted_RCHW.split(1), strict=True))
    found = []
    for number, guidance in enumerate(guidances):
        positive, negative = by_row[Row(number, "positive")], by_row.get(Row(number, "negative"))
        found.append(positive if negative is None else negative + guidance.guidance_scale * (positive - negative))
    return torch.cat(found)
