"""Intervals over few clusters: Student's t without scipy, the percentiles that make a bootstrap as wide, how few are too few. Pure."""

from __future__ import annotations

import math
from statistics import NormalDist

MIN_CLUSTERS = 6
"""With fewer, even all differences of one sign happen by chance more than once in twenty (2 / 2^5)."""


def expanded_tail(tail: float, num_clusters: int) -> float:
    """The tail to cut off so that the interval is as wide as Student's t with n - 1 degrees: Phi(-sqrt(n / (n - 1)) t).

    Without it few clusters give too narrow an interval (Hesterberg, 2015, "What Teachers Should Know about the Bootstrap").
    """
    t = student_quantile(1 - tail, num_clusters - 1)
    return NormalDist().cdf(-math.sqrt(num_clusters / (num_clusters - 1)) * t)


def student_quantile(probability: float, degrees: int) -> float:
    """Student's t quantile for probabilities above one half, exact for 1 and 2 degrees, else Newton's method on the exact CDF."""
    if degrees == 1:
        return math.tan(math.pi * (probability - 0.5))
    if degrees == 2:
        return (2 * probability - 1) / math.sqrt(2 * probability * (1 - probability))
    t = NormalDist().inv_cdf(probability)
    for _ in range(50):
        step = (_student_cdf(t, degrees) - probability) / _student_density(t, degrees)
        t -= step
        if abs(step) < 1e-12:
            break
    return t


def _student_density(t: float, degrees: int) -> float:
    log_norm = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    return math.exp(log_norm - (degrees + 1) / 2 * math.log1p(t * t / degrees))


def _student_cdf(t: float, degrees: int) -> float:
    """The finite trigonometric series for whole degrees of freedom (Abramowitz and Stegun 26.7.3-4)."""
    angle = math.atan2(t, math.sqrt(degrees))
    cosine_2 = math.cos(angle) ** 2
    term, total = (math.cos(angle), 0.0) if degrees % 2 else (1.0, 0.0)
    for k in range(3 if degrees % 2 else 2, degrees + 1, 2):
        total += term
        term *= cosine_2 * (k - 1) / k
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if degrees % 2 else math.sin(angle) * total
    return 0.5 + inside / 2
