"""Charts are well-formed, keep their figures' places, and leave gaps where nothing is known."""

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.comparison.report.charts import HEIGHT, Line, diagnosis_charts, line_chart, ticks
from daemon.protocol.diagnosis import ArmGuidance, Diagnosis, TrainingCurves

figures = st.floats(-1e6, 1e6, allow_nan=False)


def points(svg: str) -> list[list[tuple[float, float]]]:
    return [[tuple(map(float, pair.split(","))) for pair in found.split()] for found in re.findall(r'<polyline points="([^"]+)"', svg)]  # type: ignore[misc]


def test_higher_figures_stand_higher_and_later_ones_further_right() -> None:
    (line,) = points(line_chart("t", "x", [Line("a", (1, 2, 3), (0.0, 1.0, 0.5), 0)]))
    assert [x for x, _ in line] == sorted(x for x, _ in line)
    assert line[1][1] < line[2][1] < line[0][1]


def test_a_gap_parts_a_line() -> None:
    found = points(line_chart("t", "x", [Line("a", (1, 2, 3, 4), (0.0, 1.0, None, 0.5), 0)]))
    assert [len(piece) for piece in found] == [2, 2], "the single point is drawn as a dot"
    assert found[1][0] == found[1][1]


def test_names_are_text_not_markup() -> None:
    svg = line_chart('"><script>', "a & b", [Line("<b>", (1, 2), (0.0, 1.0), 0)])
    assert "<script" not in svg
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == '"><script>'
    assert "<b>" in [text.text for text in root.iter("text")]


def test_many_lines_get_a_taller_chart_and_labels_that_do_not_meet() -> None:
    svg = line_chart("t", "x", [Line(f"arm {number}", (1, 2), (0.0, 1.0), number) for number in range(30)])
    root = ElementTree.fromstring(svg)
    assert float(root.get("viewBox", "").split()[3]) > HEIGHT
    ys = sorted(float(text.get("y", 0)) for text in root.iter("text") if (text.text or "").startswith("arm"))
    assert len(ys) == 30
    assert min(after - before for before, after in itertools.pairwise(ys)) >= 12


@given(st.lists(st.one_of(figures, st.none()), min_size=1, max_size=20))
def test_any_figures_make_a_chart_inside_its_frame(ys: list[float | None]) -> None:
    svg = line_chart("t", "x", [Line("a", range(len(ys)), ys, 0)], low=0.0)
    ElementTree.fromstring(svg)
    assert all(0 <= x <= 480 and 0 <= y <= HEIGHT for piece in points(svg) for x, y in piece)


@given(figures, st.floats(1e-6, 1e6))
def test_ticks_are_few_even_and_inside(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert len(found) <= 7
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in found)


@pytest.mark.parametrize(("low", "high", "expected"), [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 120, [0, 50, 100]), (1, 12, [5, 10])])
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_an_arm_looks_the_same_in_every_chart() -> None:
    arms = tuple(
        ArmGuidance(arm=name, timesteps=(9.0, 5.0), curves=curves)
        for name, curves in (
            ("baseline", {"guidance_norm": (0.5, 1.0)}),
            ("target", dict.fromkeys(("guidance_norm", "positive_norm"), (1.0, 2.0))),
        )
    )
    alone, both = diagnosis_charts(Diagnosis(blocks=(0,), arms=arms))
    colours = [re.findall(r'<polyline [^>]*stroke="(#\w+)"', chart.svg) for chart in (alone, both)]
    assert colours[0] == colours[1][1:]


def test_a_diagnosis_has_a_chart_a_curve_and_one_a_training() -> None:
    arms = tuple(ArmGuidance(arm=name, timesteps=(999.0, 500.0), curves={"guidance_norm": (0.5, 1.0)}) for name in ("baseline", "target"))
    training = TrainingCurves(adapter="wrong", steps=(0, 100), separation=(0.0, 0.2), leak=(0.0, 0.1))
    charts = diagnosis_charts(Diagnosis(blocks=(0,), arms=arms, trainings=(training,)))
    assert [chart.name for chart in charts] == ["guidance_norm", "training of wrong"]
    assert all(len(points(chart.svg)) == 2 for chart in charts)
    assert "denoising step" in charts[0].svg
    assert "training step" in charts[1].svg
