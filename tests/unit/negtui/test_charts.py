from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from negtui import charts
from negtui.charts import Extremes, Scale, Smoothed, Trace, Window

FLOATS = st.lists(st.floats(-1e6, 1e6), max_size=3000)


@given(st.data())
def test_extremes_are_those_of_the_slice_however_the_list_grew(data: st.DataObject) -> None:
    whole = data.draw(FLOATS.filter(bool))
    values: list[float] = []
    extremes = Extremes(values)
    for end in [*sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4))), len(whole)]:
        values.extend(whole[len(values) : end])
        extremes.update()
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, len(whole)))
    assert extremes.between(start, stop) == (min(whole[start:stop]), max(whole[start:stop]))


def test_a_peak_among_many_points_is_drawn() -> None:
    values = [0.0] * 200_000
    values[123_456] = 1.0
    trace = Trace(range(200_000), values)
    trace.update()
    rows = charts.plot([trace], Window(0, 199_999), Scale(0.0, 1.0), 40, 8)
    column = Window(0, 199_999).column(123_456, 80) // 2
    assert all(row[column][0] != " " for row in rows)
    assert [x for x in range(40) if rows[0][x][0] != " "] == [column]


def test_new_points_cost_no_look_at_the_old_ones() -> None:
    class Counting(list[float]):
        num_read = 0

        def __getitem__(self, index: object) -> object:  # type: ignore[override]
            found = super().__getitem__(index)  # type: ignore[index]
            Counting.num_read += len(found) if isinstance(found, list) else 1
            return found

    values = Counting(float(step % 97) for step in range(1_000_000))
    steps = list(range(1_000_000))
    trace = Trace(steps, values)
    trace.update()
    Counting.num_read = 0
    for step in range(1_000_000, 1_000_100):
        steps.append(step)
        values.append(0.5)
        trace.update()
    assert Counting.num_read < 1000
    charts.plot([trace], Window(0, 2_000_000), Scale(0.0, 100.0), 98, 18)
    assert Counting.num_read < 50_000


def test_smoothing_has_no_bias_and_grows_with_the_list() -> None:
    values = [3.0] * 10
    smoothed = Smoothed(values, 0.9)
    smoothed.update()
    assert list(smoothed.values) == pytest.approx([3.0] * 10)
    values.append(13.0)
    smoothed.update()
    assert 3.0 < smoothed.values[-1] < 13.0
    again = Smoothed(values, 0.9)
    again.update()
    assert list(again.values) == list(smoothed.values)


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
@example(low=0.0, spread=2.2250738585e-313)
@example(low=1e9, spread=2e-7)
def test_scales_hold_what_they_are_for_with_round_ends(low: float, spread: float) -> None:
    scale = charts.fitting(low, low + spread)
    slack = 1e-6 * max(abs(low), spread, 1e-6)
    assert scale.low <= low + slack
    assert scale.high >= low + spread - slack
    assert scale.high > scale.low


@given(st.floats(1e-12, 1e12), st.floats(1.0, 1e6))
def test_logarithmic_scales_hold_what_they_are_for(low: float, factor: float) -> None:
    scale = charts.fitting(low, low * factor, is_log=True)
    assert scale.is_log
    assert scale.low <= low * (1 + 1e-6)
    assert scale.high >= low * factor * (1 - 1e-6)
    assert scale.value(scale.height(low)) == pytest.approx(low, rel=1e-6)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
@example(low=5e-324, high=5e-324, is_log=True)
@example(low=-1.7e308, high=1.7e308, is_log=False)
def test_whatever_was_told_has_a_scale(low: float, high: float, is_log: bool) -> None:
    low, high = sorted((low, high))
    scale = charts.fitting(low, high, is_log)
    assert scale.low < scale.high
    assert 0.0 <= scale.height(low) <= scale.height(high) <= 1.0


def test_a_logarithm_of_nothing_is_not_tried() -> None:
    assert not charts.fitting(0.0, 1.0, is_log=True).is_log
    assert charts.fitting(math.inf, -math.inf) == Scale(0.0, 1.0)
    assert Scale(0.0, 1.0).height(math.nan) == 0.0


def test_a_scale_stays_while_values_stay_inside() -> None:
    assert charts.fitting(0.11, 0.93) == charts.fitting(0.13, 0.99)


@given(st.integers(0, 1000), st.integers(1, 100_000), st.integers(1, 300), st.data())
def test_columns_of_a_window_are_where_their_first_steps_are(first: int, length: int, width: int, data: st.DataObject) -> None:
    window = Window(first, first + length)
    step = data.draw(st.integers(window.first, window.last))
    column = window.column(step, width)
    assert 0 <= column < width
    assert window.first_step(column, width) <= step < window.first_step(column + 1, width)


def test_zooming_keeps_its_point_and_stays_inside() -> None:
    whole = Window(0, 1000)
    near = whole.zoomed(0.5, 1000, whole)
    assert near == Window(500, 1000)
    assert near.zoomed(2.0, 700, whole) == whole
    assert near.moved(-9999, whole) == Window(0, 500)
    assert whole.zoomed(0.5, 400, whole) == Window(200, 700)


def test_values_are_read_at_the_nearest_step() -> None:
    trace = Trace([0, 10, 20], [1.0, 2.0, 3.0])
    trace.update()
    assert trace.at(14) == (10, 2.0, 2.0)
    assert trace.at(16) == (20, 3.0, 3.0)
    assert trace.at(-5) == (0, 1.0, 1.0)
    assert trace.at(2**62) == (20, 3.0, 3.0)
    assert Trace([], []).at(0) is None


def test_the_curve_leads_to_the_points_beside_the_window() -> None:
    trace = Trace([0, 100], [0.0, 1.0])
    trace.update()
    rows = charts.plot([trace], Window(40, 60), Scale(0.0, 1.0), 20, 8)
    assert all(any(row[x][0] != " " for row in rows) for x in range(20))


def test_runs_are_told_apart_without_colour() -> None:
    traces = [Trace([0, 100], [0.0, 0.0]), Trace([0, 100], [1.0, 1.0])]
    for trace in traces:
        trace.update()
    window, scale = Window(0, 100), Scale(0.0, 1.0)
    braille = charts.plot(traces, window, scale, 20, 4)
    assert {cell[0] for cell in braille[0]} != {cell[0] for cell in braille[-1]}
    plain = charts.plot(traces, window, scale, 20, 4, ascii_only=True)
    assert {cell[0] for cell in plain[0]} == {"o"}
    assert {cell[0] for cell in plain[-1]} == {"."}
    assert all(cell[0].isascii() for row in plain for cell in row)


def test_only_what_differs_is_a_span() -> None:
    before = [[("a", 0), ("b", 0), ("c", 0)], [("x", 0)]]
    assert charts.changed_spans(before, [[("a", 0), ("b", 1), ("c", 0)], [("x", 0)]]) == [(0, 1, 1)]
    assert charts.changed_spans(before, before) == []
    assert charts.changed_spans([[]], []) == []
    assert charts.changed_spans(before, before[:1]) == [(1, 0, 1)]


def test_a_point_more_changes_few_cells() -> None:
    steps, values = list(range(1, 501)), [1 / (1 + step / 50) for step in range(1, 501)]
    trace = Trace(steps, values)
    window, scale = Window(0, 1000), Scale(0.0, 1.0)
    trace.update()
    before = charts.plot([trace], window, scale, 98, 18)
    steps.extend(range(501, 511))
    values.extend([0.09] * 10)
    trace.update()
    spans = charts.changed_spans(before, charts.plot([trace], window, scale, 98, 18))
    assert spans
    assert sum(width for _, _, width in spans) <= 4


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.1234567, "0.1235"), (1e-4, "1e-4"), (0.00011, "1.1e-4"), (12345.678, "1.23e4"), (-0.5, "-0.5"), (math.nan, "n/a")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert charts.number(value) == text


@pytest.mark.parametrize(("step", "end"), [(0, 10), (10, 10), (11, 20), (21, 50), (999, 1000), (1001, 2000)])
def test_axes_end_at_round_steps(step: int, end: int) -> None:
    assert charts.round_up(step) == end


def test_a_point_that_comes_late_is_taken_up_in_its_place() -> None:
    steps, values = [*range(0, 200, 2)], [1.0] * 100
    trace = Trace(steps, values, weight=0.5)
    trace.update()
    steps.insert(50, 99)
    values.insert(50, 9.0)
    trace.update()
    assert trace.at(99) == (99, pytest.approx(5.0), 9.0)
    assert trace.extent(Window(98, 100)) == (1.0, pytest.approx(5.0))


def test_a_narrow_logarithmic_scale_stays_near_its_values() -> None:
    assert charts.fitting(0.61, 0.72, is_log=True) == Scale(pytest.approx(0.6), pytest.approx(0.72), True)  # type: ignore[arg-type]


def test_smoothing_may_be_done_in_parts() -> None:
    values = [float(number % 7) for number in range(1000)]
    trace = Trace(range(1000), values, weight=0.9)
    assert [trace.update(400), trace.update(400), trace.update(400)] == [False, False, True]
    whole = Trace(range(1000), values, weight=0.9)
    whole.update()
    assert trace.at(999) == whole.at(999)
