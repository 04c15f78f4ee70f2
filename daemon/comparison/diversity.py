"""How different the pictures of one arm are from each other, and whether arms differ in that. Pure numpy.

Within prompts, where at least two have several seeds: a prompt's value is the mean distance between its pictures. Else between all
pictures: the mean distance D over pairs is then no mean over pictures, so that resampling them would understate its uncertainty; each
picture's value is its jackknife pseudo-value n D - (n - 1) D_without_it, whose mean is D and whose spread is D's (Efron and Stein, 1981,
"The Jackknife Estimate of Variance"). Arms are then compared value by value as by any other metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from daemon.comparison.features import distance_sums
from daemon.comparison.plan import Block
from daemon.measuring.metrics import Floats

CellFeatures = Mapping[tuple[int, str], Floats]
"""(block's index, arm's name) -> (F,)."""
METRIC = "diversity"
MIN_PICTURES = 3
"""Fewer have no pseudo-values."""


def find_diversity(blocks: Sequence[Block], names: Sequence[str], features: CellFeatures) -> dict[tuple[int, str], float]:
    """(index of a block, arm) -> value; a prompt's value stands at its first block. Empty where there are too few pictures."""
    prompts: dict[str, list[int]] = {}
    for block in blocks:
        prompts.setdefault(block.prompt, []).append(block.index)
    several = [indices for indices in prompts.values() if len(indices) > 1]
    if len(several) > 1:
        return {
            (indices[0], name): mean_distance(np.stack([features[index, name] for index in indices]))
            for indices in several
            for name in names
        }
    indices = [block.index for block in blocks]
    if len(indices) < MIN_PICTURES:
        return {}
    found = {}
    for name in names:
        values = pseudo_values(np.stack([features[index, name] for index in indices]))
        found.update({(index, name): float(value) for index, value in zip(indices, values, strict=True)})
    return found


def mean_distance(features_NF: Floats) -> float:
    """(N, F), N > 1 -> mean distance over pairs."""
    number = len(features_NF)
    return float(distance_sums(features_NF).sum() / (number * (number - 1)))


def pseudo_values(features_NF: Floats) -> Floats:
    """(N, F), N > 2 -> (N,): jackknife pseudo-values of the mean over pairs D: (2 (N - 1) h - N D) / (N - 2), h a picture's mean."""
    number = len(features_NF)
    to_others_N = distance_sums(features_NF) / (number - 1)
    found: Floats = (2 * (number - 1) * to_others_N - number * to_others_N.mean()) / (number - 2)
    return found
