from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from negtui.widgets.spark import bar, spark


@given(st.lists(st.none() | st.floats(min_value=-1e3, max_value=1e3), max_size=50), st.integers(min_value=1, max_value=20))
def test_a_spark_has_a_block_a_value_and_no_more_than_fit(values: list[float | None], width: int) -> None:
    assert len(spark(values, width, 0.0, 100.0)) == min(len(values), width)


def test_blocks_rise_with_the_values() -> None:
    assert spark([0.0, 50.0, 100.0, None], 10, 0.0, 100.0) == "▁▅█."
    assert spark([3.0], 10, 3.0, 3.0) == "▁"


def test_a_bar_tells_its_share() -> None:
    assert bar(0.5, 12) == "[██  ]  50 %"
    assert bar(2.0, 12).startswith("[████]")
    assert bar(None, 12) == "n/a"
