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
MIN_HELD_CLUSTERS = 12
"""Where other figures are held, some of the evidence goes into their coefficients."""
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


def labelled(differences: Sequence[float], clusters: Sequence[int]) -> tuple[Floats, Labels]:
    """(N,) values and (N,) clusters, numbered from 0; where all are of one cluster, each is its own. Raises `ValueError` where N is 0."""
    values = np.asarray(differences, dtype=np.float64)
    if len(values) == 0:
        raise ValueError("no differences: nothing to estimate")
    labels = np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64)
    return values, np.arange(len(values)) if labels.max() == 0 else labels


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
    values, labels = labelled(differences, clusters)
    num_clusters, mean = int(labels.max()) + 1, float(values.mean())
    if num_clusters < 2:
        return Interval(mean, mean, mean, 0.0, len(values), num_clusters)
    means = _resampled_means(values, labels, num_resamples, _seed(values, labels))
    tail = (1 - confidence) / 2
    tail = expanded_tail(tail, num_clusters) if expand else tail
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high), confidence, len(values), num_clusters)


def held_bootstrap(
    differences: Sequence[float],
    covariates: Sequence[Sequence[float]],
    clusters: Sequence[int],
    *,
    confidence: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval:
    """The difference that is left where the covariates do not differ: the intercept a of  d_i = a + sum_k b_k x_ik + error_i.

    `covariates[k][i]` is the difference of the k-th covariate (contrast, say) in block i. Least squares, the analysis of covariance of
    paired differences; the interval is that of `paired_bootstrap`, with the fit made anew in every resample of whole clusters.
    """
    values, labels = labelled(differences, clusters)
    design_NK = np.stack([np.ones_like(values), *(np.asarray(column, dtype=np.float64) for column in covariates)], axis=1)
    # In units of their spread: least squares of figures that differ a thousandfold would lose digits.
    design_NK /= np.maximum(np.sqrt((design_NK**2).mean(axis=0)), 1e-300)
    num_clusters = int(labels.max()) + 1
    grams_CKK, sides_CK = _sums(labels, design_NK[:, :, None] * design_NK[:, None, :]), _sums(labels, design_NK * values[:, None])
    mean = float(_intercepts(grams_CKK.sum(axis=0)[None], sides_CK.sum(axis=0)[None])[0])
    if num_clusters < 2:
        return Interval(mean, mean, mean, 0.0, len(values), num_clusters)
    generator = np.random.default_rng(_seed(np.append(values, design_NK), labels))
    rows, chances, found = max(1, _CHUNK // num_clusters), np.full(num_clusters, 1 / num_clusters), []
    for begin in range(0, num_resamples, rows):
        counts_RC = generator.multinomial(num_clusters, chances, min(rows, num_resamples - begin)).astype(np.float64)
        found.append(_intercepts(np.einsum("rc,ckl->rkl", counts_RC, grams_CKK, optimize=True), counts_RC @ sides_CK))
    tail = expanded_tail((1 - confidence) / 2, num_clusters)
    low, high = np.quantile(np.concatenate(found), [tail, 1 - tail])
    return Interval(mean, float(low), float(high), confidence, len(values), num_clusters)


def _sums(labels: Labels, rows: Floats) -> Floats:
    """(N,), (N, ...) -> (C, ...): sums over each cluster's rows."""
    found = np.zeros((int(labels.max()) + 1, *rows.shape[1:]))
    np.add.at(found, labels, rows)
    return found


def _intercepts(grams_RKK: Floats, sides_RK: Floats) -> Floats:
    """(R, K, K), (R, K) -> (R,): the first coefficient of least squares; the shortest solution where the covariates do not vary."""
    solved: Floats = (np.linalg.pinv(grams_RKK, rcond=1e-9, hermitian=True) @ sides_RK[:, :, None])[:, 0, 0]
    return solved


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
