"""Quantiles are scipy's; the widened tail gives Student's width."""

from statistics import NormalDist

import pytest
import scipy.stats

from daemon.student import expanded_tail, student_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 6, 11, 29, 30, 199, 5000])
@pytest.mark.parametrize("probability", [0.9, 0.975, 0.995])
def test_student_quantile_is_scipy_s(degrees: int, probability: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(scipy.stats.t.ppf(probability, degrees), rel=1e-9)


@pytest.mark.parametrize("num_clusters", [3, 6, 12, 40])
def test_the_expanded_tail_cuts_where_student_s_interval_ends(num_clusters: int) -> None:
    # The bootstrap's spread is that of a variance with divisor n, not n - 1.
    ends = -NormalDist().inv_cdf(expanded_tail(0.025, num_clusters)) * ((num_clusters - 1) / num_clusters) ** 0.5
    assert ends == pytest.approx(scipy.stats.t.ppf(0.975, num_clusters - 1), rel=1e-6)
