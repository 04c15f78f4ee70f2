import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.comparison.sweep.racing import find_losers, look_points, lower_bound


@given(st.integers(1, 5000), st.integers(1, 300))
def test_looks_double_and_never_come_with_the_last_block(num_blocks: int, first_look: int) -> None:
    points = look_points(num_blocks, first_look)
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(points))
    assert all(point < num_blocks for point in points)
    assert (points[0] == first_look) if points else num_blocks <= first_look


def test_the_bound_is_students() -> None:
    scipy = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(1).normal(0.3, 1.0, 20)
    expected = values.mean() - scipy.t.ppf(0.999, 19) * values.std(ddof=1) / math.sqrt(20)
    assert lower_bound(list(values), range(20), 0.001) == pytest.approx(expected)


def test_seeds_of_one_prompt_are_one_piece_of_evidence() -> None:
    values = list(np.random.default_rng(2).normal(0.5, 1.0, 12))
    repeated, prompts = [value for value in values for _ in range(4)], [number for number in range(12) for _ in range(4)]
    assert lower_bound(repeated, prompts, 0.01) == pytest.approx(lower_bound(values, range(12), 0.01))


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_who_clearly_loses_is_found_whichever_way_is_good(better: str) -> None:
    draw = np.random.default_rng(3)
    sign = 1 if better == "lower" else -1
    block = draw.normal(0, 5, 30)
    values = {name: list(block + sign * shift + draw.normal(0, 0.1, 30)) for name, shift in (("good", 0.0), ("close", 0.01), ("bad", 1.0))}
    (stop,) = find_losers(values, range(30), better, 0.01)
    assert (stop.cell, stop.leader) in (("bad", "good"), ("bad", "close"))
    assert 0 < stop.bound < 1.1


def test_few_prompts_and_equal_cells_stop_nobody() -> None:
    same = {"a": [0.5] * 30, "b": [0.5] * 30}
    assert find_losers(same, range(30), "lower", 0.01) == ()
    worse = {"a": [0.0, 0.1, 0.0, 0.1, 0.0], "b": [9.0, 9.1, 9.2, 9.0, 9.1]}
    assert find_losers(worse, range(5), "lower", 0.4) == (), "five prompts tell nothing"


def test_without_spread_the_number_of_prompts_decides() -> None:
    always = {"a": [0.0] * 8, "b": [1.0] * 8}
    assert [stop.cell for stop in find_losers(always, range(8), "lower", 0.01)] == ["b"]
    assert find_losers(always, range(8), "lower", 0.001) == ()


def best_stops(draw: np.random.Generator, num_cells: int, error_rate: float) -> bool:
    """One race of equal cells: does the first, which is as good as any, stop?"""
    prompts = np.repeat(np.arange(32), 4)
    figures = draw.normal(0, 1, 32)[prompts] + draw.normal(0, 1, (num_cells, 32))[:, prompts] + draw.normal(0, 1, (num_cells, 128))
    points = look_points(128, 16)
    tail, running = error_rate / len(points) / (num_cells - 1), list(range(num_cells))
    order = np.argsort(np.tile(np.arange(4), 32), kind="stable")
    for point in points:
        seen = order[:point]
        losers = find_losers({str(cell): list(figures[cell, seen]) for cell in running}, list(prompts[seen]), "lower", tail)
        stopped = {int(stop.cell) for stop in losers}
        if 0 in stopped:
            return True
        running = [cell for cell in running if cell not in stopped]
    return False


@pytest.mark.parametrize("num_races", [400, pytest.param(4000, marks=pytest.mark.full)])
def test_the_best_cell_stops_no_oftener_than_promised(num_races: int) -> None:
    """Equal cells are the worst case; 20 % promised, so that the figure is not hidden in the noise of so few races."""
    draw = np.random.default_rng(4)
    stopped = sum(best_stops(draw, 6, 0.2) for _ in range(num_races))
    assert stopped <= 0.2 * num_races + 3 * math.sqrt(0.2 * 0.8 * num_races)
