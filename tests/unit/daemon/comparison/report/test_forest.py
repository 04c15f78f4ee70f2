"""Intervals lie on an axis that holds zero, under round figures."""

from hypothesis import given
from hypothesis import strategies as st

from daemon.comparison.report.forest import MAX_TICKS, SHARES, find_axis
from daemon.protocol.effects import Effect


def effect(low: float, high: float) -> Effect:
    middle = (low + high) / 2
    return Effect(
        metric="contrast",
        arm="a",
        against="b",
        mean=0,
        mean_against=0,
        difference=middle,
        low=low,
        high=high,
        confidence=0.95,
        num_blocks=9,
    )


def test_effects_share_an_axis_with_round_ticks() -> None:
    axis = find_axis([effect(1.0, 2.0), effect(-1.0, 1.0)])
    assert 0 < axis.position(-1.0) < axis.none < axis.position(1.0) < axis.position(2.0) < 100
    assert [tick.label for tick in axis.ticks] == ["\N{MINUS SIGN}1", "0", "1", "2"]
    assert next(tick.position for tick in axis.ticks if tick.label == "0") == axis.none


def test_no_difference_at_all_still_has_an_axis() -> None:
    axis = find_axis([effect(0.0, 0.0)])
    assert 0 < axis.none < 100


def test_shares_of_votes_part_in_the_middle() -> None:
    assert SHARES.none == SHARES.position(0.5) == 50


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)), min_size=1, max_size=4))
def test_everything_lies_on_the_axis(intervals: list[tuple[float, float]]) -> None:
    effects = [effect(low, low + width) for low, width in intervals]
    axis = find_axis(effects)
    for one in effects:
        assert 0 <= axis.position(one.low) <= axis.position(one.difference) <= axis.position(one.high) <= 100
    assert 1 <= len(axis.ticks) <= MAX_TICKS + 1
    assert all(0 <= tick.position <= 100 for tick in axis.ticks)
