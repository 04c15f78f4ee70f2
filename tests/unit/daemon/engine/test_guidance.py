"""Rows and their combination: what guidance asks of the UNet, and what it makes of the answers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.engine.guidance import Guidance, Row, combine, guidance_window, rows_at

ALWAYS = Guidance(5.0, range(0, 10))
shares = st.floats(0, 1)


def test_one_picture_has_the_rows_of_diffusers_negative_first() -> None:
    assert rows_at(0, [ALWAYS]) == (Row(0, "negative"), Row(0, "positive"))


def test_outside_its_window_and_at_a_scale_of_one_a_picture_has_no_negative_row() -> None:
    guidances = [ALWAYS, Guidance(5.0, range(2, 4)), Guidance(1.0, range(0, 10))]
    positives = tuple(Row(number, "positive") for number in range(3))
    assert rows_at(1, guidances) == (Row(0, "negative"), *positives)
    assert rows_at(2, guidances) == (Row(0, "negative"), Row(1, "negative"), *positives)


@pytest.mark.parametrize(
    ("start", "end", "guided"),
    [(0.0, 1.0, range(0, 25)), (0.2, 0.8, range(5, 20)), (0.5, 1.0, range(12, 25)), (0.0, 0.01, range(0, 0))],
)
def test_a_window_is_counted_in_steps(start: float, end: float, guided: range) -> None:
    assert guidance_window(25, start, end) == guided


@given(num_steps=st.integers(1, 1000), cuts=st.lists(shares, max_size=5))
def test_neighbouring_windows_guide_every_step_once(num_steps: int, cuts: list[float]) -> None:
    bounds = [0.0, *sorted(cuts), 1.0]
    guided = [step for start, end in itertools.pairwise(bounds) for step in guidance_window(num_steps, start, end)]
    assert guided == list(range(num_steps))


def test_each_picture_gets_its_own_scale() -> None:
    import torch

    guidances = [ALWAYS, Guidance(3.0, range(0)), Guidance(2.0, range(0, 10))]
    rows = rows_at(0, guidances)
    answers = {Row(0, "negative"): 1.0, Row(0, "positive"): 2.0, Row(1, "positive"): 7.0, Row(2, "negative"): 4.0, Row(2, "positive"): 3.0}
    predicted = torch.tensor([answers[row] for row in rows]).view(-1, 1, 1, 1)
    found = combine(predicted, rows, guidances).flatten().tolist()
    assert found == [1.0 + 5.0 * 1.0, 7.0, 4.0 + 2.0 * -1.0]
