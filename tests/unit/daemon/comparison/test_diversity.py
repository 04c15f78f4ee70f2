"""Diversity: its value by hand, its spread by simulation."""

import numpy as np
import pytest

from daemon.comparison.diversity import find_diversity, mean_distance, pseudo_values
from daemon.comparison.plan import Block
from daemon.comparison.stats import paired_bootstrap


def test_mean_distance_is_over_pairs() -> None:
    assert mean_distance(np.array([[0.0], [1.0], [3.0]])) == pytest.approx((1 + 2 + 3) / 3)


def test_pseudo_values_are_those_of_the_jackknife() -> None:
    points = np.random.default_rng(0).normal(size=(7, 3))
    whole = mean_distance(points)
    by_hand = [7 * whole - 6 * mean_distance(np.delete(points, left_out, axis=0)) for left_out in range(7)]
    found = pseudo_values(points)
    assert found == pytest.approx(by_hand)
    assert found.mean() == pytest.approx(whole)


def test_several_seeds_of_prompts_are_compared_within_their_prompts() -> None:
    blocks = [Block(0, "a", 0), Block(1, "a", 1), Block(2, "b", 0), Block(3, "b", 1), Block(4, "c", 0)]
    features = {(block.index, "x"): np.array([float(block.index**2)]) for block in blocks}
    assert find_diversity(blocks, ["x"], features) == {(0, "x"): pytest.approx(1.0), (2, "x"): pytest.approx(5.0)}


def test_one_seed_a_prompt_is_compared_over_prompts() -> None:
    blocks = [Block(index, f"prompt {index}", 0) for index in range(4)]
    features = {(index, name): np.array([scale * index]) for index in range(4) for name, scale in (("x", 1.0), ("y", 2.0))}
    found = find_diversity(blocks, ["x", "y"], features)
    assert len(found) == 8
    of = {name: np.mean([found[index, name] for index in range(4)]) for name in ("x", "y")}
    assert of == {"x": pytest.approx(10 / 6), "y": pytest.approx(20 / 6)}


def test_too_few_pictures_have_none() -> None:
    blocks = [Block(0, "a", 0), Block(1, "b", 0)]
    assert find_diversity(blocks, ["x"], {(0, "x"): np.zeros(2), (1, "x"): np.ones(2)}) == {}


def test_its_interval_covers_the_truth() -> None:
    """Of normal points of 2 dimensions and standard deviation 1 the mean distance is sqrt(pi): in 95 % of samples, about."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        interval = paired_bootstrap(pseudo_values(rng.normal(size=(30, 2))).tolist(), list(range(30)), num_resamples=1000)
        covered += interval.low <= np.sqrt(np.pi) <= interval.high
    assert 0.9 <= covered / 200 <= 0.99
