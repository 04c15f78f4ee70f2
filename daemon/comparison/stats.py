"""The paired bootstrap: how sure a difference between two arms is. Pure numpy; the same figures give the same interval, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from daemon.student import expanded_tail

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

NUM_RESAMPLES = 10_000
MIN_CLUSTERS = 6
"""With fewer, even all differences of one sign happen by chance more than once in twenty (2 / 2^5)."""
_CHUNK = 1_000_000


@dataclass(frozen=True)
class Interval:
    """A mean difference and its confidence interval. `confidence` 0: too little to make an interval, the ends are the mean."""

    mean: float
    low: float
    high: float
    confidence: float
    num_blocks: int
    num_clusters: int


def paired_bootstrap(
    differences: Sequence[float],
    clusters: Sequence[int],
    *,
    confidence: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    expand: bool = True,
) -> Interval:
    """Mean of the blocks' differences (arm minus the other, same prompt and seed) and its percentile bootstrap interval.

    `clusters[i]` names what block i shares with others (its prompt): whole clusters are drawn, for a prompt's seeds are not
    independent evidence. Where all blocks are of one cluster, blocks are drawn. `expand` widens the percentiles to those of
    Student's t, without which few clusters give too narrow an interval (Hesterberg, 2015, "What Teachers Should Know about
    the Bootstrap"). The draws are seeded by a hash of the figures.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) == 0:
        raise ValueError("no differences: nothing to estimate")
    labels = np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64)
    if labels.max() == 0:
        labels = np.arange(len(values))
    num_clusters, mean = int(labels.max()) + 1, float(values.mean())
    if num_clusters < 2:
        return Interval(mean, mean, mean, 0.0, len(values), num_clusters)
    means = _resampled_means(values, labels, num_resamples, _seed(values, labels))
    tail = (1 - confidence) / 2
    tail = expanded_tail(tail, num_clusters) if expand else tail
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high), confidence, len(values), num_clusters)


def _resampled_means(values: Floats, labels: Labels, num_resamples: int, seed: int) -> Floats:
    """(N,), (N,) -> (num_resamples,): means over blocks of clusters drawn with replacement."""
    sums = np.bincount(labels, weights=values)
    sizes = np.bincount(labels).astype(np.float64)
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(sums))
    means = []
    for begin in range(0, num_resamples, rows):
        drawn = generator.integers(0, len(sums), (min(rows, num_resamples - begin), len(sums)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)


def _seed(values: Floats, labels: Labels) -> int:
    content = values.astype("<f8").tobytes() + labels.astype("<i8").tobytes()
    return int.from_bytes(hashlib.sha256(content).digest()[:16], "little")
