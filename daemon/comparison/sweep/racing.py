"""Who clearly loses a race? Pure, and the same figures always stop the same cells.

A race looks at its cells several times and holds each against the leader of the moment. So that many looks and many cells do not stop the
truly best one by chance, the permitted error is spent evenly over the looks and over the other cells (Bonferroni): the best cell can only
be stopped by one of its `num_cells - 1` rivals at one of `num_looks` looks, each of these with at most its share. That holds whatever
chose the leader and however looks depend on each other. Looks lie at doubling numbers of blocks, so that there are few of them. Blocks are
paired as in the races of Moore and Lee (1994, "Efficient algorithms for minimizing cross validation error"); intervals are Student's on
the sums of clusters (Cameron and Miller, 2015, "A practitioner's guide to cluster-robust inference"), since a bootstrap of a few
clusters has no quantiles as far out as these shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from daemon.comparison.stats import labelled
from daemon.student import MIN_CLUSTERS, student_quantile


@dataclass(frozen=True)
class Stop:
    """A cell that clearly loses against `leader`: their means, and the bound that the difference surely keeps to the worse side of zero."""

    cell: str
    leader: str
    mean: float
    leader_mean: float
    bound: float


def look_points(num_blocks: int, first_look: int) -> tuple[int, ...]:
    """After how many blocks a race looks: `first_look`, then doubled, always before the last block."""
    points = []
    point = first_look
    while point < num_blocks:
        points.append(point)
        point *= 2
    return tuple(points)


def find_losers(values: Mapping[str, Sequence[float]], clusters: Sequence[int], better: str, tail: float) -> tuple[Stop, ...]:
    """The cells whose one-sided interval of the difference to the leader, cut at `tail`, lies on the worse side of zero.

    `values`: cell -> a figure per block, the same blocks for all; `clusters[i]` names the prompt of block i. With fewer than
    `MIN_CLUSTERS` clusters nobody loses.
    """
    sign = 1.0 if better == "lower" else -1.0
    means = {cell: sum(figures) / len(figures) for cell, figures in values.items()}
    leader = min(means, key=lambda cell: sign * means[cell])
    stops = []
    for cell in values:
        worse_by = [sign * (own - best) for own, best in zip(values[cell], values[leader], strict=True)]
        bound = lower_bound(worse_by, clusters, tail) if cell != leader else None
        if bound is not None and bound > 0:
            stops.append(Stop(cell, leader, means[cell], means[leader], bound))
    return tuple(stops)


def lower_bound(differences: Sequence[float], clusters: Sequence[int], tail: float) -> float | None:
    """What the mean difference exceeds, wrong with probability `tail`: (N,), (N,) -> float; None with too few clusters to say.

    One cluster only: its blocks are taken for clusters, as in `stats.paired_bootstrap`.
    """
    values, labels = labelled(differences, clusters)
    sizes = np.bincount(labels).astype(np.float64)
    number, mean = len(sizes), float(values.mean())
    if number < MIN_CLUSTERS:
        return None
    residuals = np.bincount(labels, weights=values) - sizes * mean
    error = math.sqrt(number / (number - 1) * float(residuals @ residuals)) / len(values)
    if error == 0.0:
        # No spread to reckon with: as sure as that so many clusters all lie on one side.
        return mean if 0.5**number <= tail else None
    return mean - student_quantile(1 - tail, number - 1) * error
