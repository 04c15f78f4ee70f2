"""The bootstrap: repeatable, agreeing with scipy, and covering as often as it says."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from daemon.comparison.stats import held_bootstrap, paired_bootstrap

figures = st.lists(st.floats(-10, 10, allow_nan=False), min_size=1, max_size=30)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_percentile_interval_is_scipy_s(seed: int) -> None:
    values = np.random.default_rng(seed).exponential(1.0, 80)
    ours = paired_bootstrap(list(values), range(80), expand=False)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=seed).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_with_many_blocks_the_interval_is_student_s() -> None:
    values = np.random.default_rng(5).normal(0.3, 1.0, 60)
    ours = paired_bootstrap(list(values), range(60))
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


@pytest.mark.parametrize(("name", "num_prompts", "num_seeds"), [("normal", 12, 1), ("flaws", 150, 1), ("steps", 60, 1), ("normal", 30, 3)])
def test_nominal_95_covers_93_to_97(name: str, num_prompts: int, num_seeds: int) -> None:
    """1,500 experiments with a known truth: the share whose interval holds it. One standard error is 0.6 percent."""
    rng = np.random.default_rng(20260101)

    def experiment() -> tuple[np.ndarray, float]:
        if name == "normal":
            return (rng.normal(0.1, 1, (num_prompts, 1)) + rng.normal(0, 1, (num_prompts, num_seeds))).ravel(), 0.1
        if name == "steps":
            return rng.choice([-1.0, 0.0, 1.0], num_prompts, p=[0.15, 0.6, 0.25]), 0.1
        flawed = rng.random(num_prompts) < 0.2
        return np.where(flawed, rng.normal(-0.3, 0.3, num_prompts), rng.normal(0, 0.01, num_prompts)), -0.06

    clusters = np.repeat(np.arange(num_prompts), num_seeds).tolist()
    hits = 0
    for _ in range(1500):
        values, truth = experiment()
        interval = paired_bootstrap(values.tolist(), clusters, num_resamples=400)
        hits += interval.low <= truth <= interval.high
    assert 0.93 <= hits / 1500 <= 0.97


@given(figures)
def test_the_same_figures_give_the_same_interval(values: list[float]) -> None:
    one = paired_bootstrap(values, range(len(values)), num_resamples=200)
    assert one == paired_bootstrap(values, range(len(values)), num_resamples=200)
    slack = 1e-9
    assert min(values) - slack <= one.low <= one.high <= max(values) + slack
    assert one.mean == pytest.approx(np.mean(values))


@given(st.floats(-10, 10, allow_nan=False), st.integers(2, 20))
def test_equal_differences_leave_no_doubt(value: float, count: int) -> None:
    interval = paired_bootstrap([value] * count, range(count), num_resamples=100)
    assert (interval.low, interval.high) == pytest.approx((value, value))


def test_a_prompt_s_seeds_are_not_independent_evidence() -> None:
    by_prompt = np.random.default_rng(0).normal(0, 1, 20)
    repeated = np.repeat(by_prompt, 5).tolist()
    once = paired_bootstrap(by_prompt.tolist(), range(20))
    clustered = paired_bootstrap(repeated, np.repeat(np.arange(20), 5).tolist())
    careless = paired_bootstrap(repeated, range(100))
    assert (clustered.num_blocks, clustered.num_clusters) == (100, 20)
    assert clustered.high - clustered.low == pytest.approx(once.high - once.low, rel=0.05)
    assert careless.high - careless.low < 0.55 * (clustered.high - clustered.low)


def test_seeds_of_a_single_prompt_are_drawn_themselves() -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert paired_bootstrap(values, [4] * 6) == paired_bootstrap(values, range(6))


def test_one_block_has_no_interval() -> None:
    interval = paired_bootstrap([0.5], [0])
    assert (interval.low, interval.high, interval.confidence) == (0.5, 0.5, 0.0)


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no differences"):
        paired_bootstrap([], [])


def test_what_is_left_where_covariates_are_equal_is_least_squares_intercept() -> None:
    rng = np.random.default_rng(0)
    contrast, saturation = rng.normal(0.1, 0.05, 50), rng.normal(1000.0, 300.0, 50)
    differences = 0.2 + 3 * contrast - 0.001 * saturation + rng.normal(0, 0.01, 50)
    expected = np.linalg.lstsq(np.stack([np.ones(50), contrast, saturation], axis=1), differences, rcond=None)[0][0]
    found = held_bootstrap(differences.tolist(), [contrast.tolist(), saturation.tolist()], range(50))
    assert found.mean == pytest.approx(expected)
    assert found.low < 0.2 < found.high


def test_covariates_that_do_not_vary_change_nothing() -> None:
    values = np.random.default_rng(5).normal(0.3, 1.0, 60).tolist()
    held, plain = held_bootstrap(values, [[0.0] * 60, [0.0] * 60], range(60)), paired_bootstrap(values, range(60))
    assert held.mean == pytest.approx(plain.mean)
    assert (held.low, held.high) == pytest.approx((plain.low, plain.high), abs=0.03)


def test_held_intervals_cover_as_often_as_they_say() -> None:
    """Clusters of three blocks share their noise; the true rest is 0.5."""
    rng, covered, trials, clusters = np.random.default_rng(2), 0, 300, np.repeat(np.arange(25), 3)
    for _ in range(trials):
        contrast = rng.normal(0.2, 1.0, 75)
        differences = 0.5 + contrast + rng.normal(0, 1.0, 25)[clusters] + rng.normal(0, 0.5, 75)
        found = held_bootstrap(differences.tolist(), [contrast.tolist()], clusters.tolist(), num_resamples=800)
        covered += found.low <= 0.5 <= found.high
    assert 0.91 <= covered / trials <= 0.985


def test_an_only_block_has_no_held_interval() -> None:
    found = held_bootstrap([0.4], [[0.0]], [0])
    assert (found.mean, found.low, found.high, found.confidence) == (pytest.approx(0.4), found.mean, found.mean, 0.0)
