from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult

from negtui.charts import Window
from negtui.widgets.loss_chart import LossChart, Run
from tests.curation_daemon import in_loop

STEPS = list(range(1, 501))
VALUES = [1 / (1 + step / 50) for step in STEPS]


class Host(App[None]):
    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__()
        self.chart = LossChart("loss", ascii_only=ascii_only)

    def compose(self) -> ComposeResult:
        yield self.chart


@in_loop
async def test_a_chart_has_a_title_values_and_both_axes() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)):
        app.chart.show([Run("a", STEPS, VALUES)], Window(0, 1000))
        app.chart.draw()
        lines = app.chart.text.splitlines()
        assert lines[0] == "  loss  0.09091"
        assert lines[1].startswith("      1┤")
        assert lines[-1].split() == ["0", "500", "1000"]
        assert len(lines) == 12


@in_loop
async def test_ten_points_more_send_tens_of_cells_at_most() -> None:
    app = Host()
    steps, values = [*STEPS], [*VALUES]
    async with app.run_test(size=(98, 20)):
        app.chart.show([Run("a", steps, values)], Window(0, 1000))
        app.chart.draw()
        before = app.chart.num_cells_sent
        for _ in range(10):
            steps.extend(range(steps[-1] + 1, steps[-1] + 11))
            values.extend([0.085] * 10)
            app.chart.draw()
        assert 0 < app.chart.num_cells_sent - before < 10 * 12
        before = app.chart.num_cells_sent
        app.chart.draw()
        assert app.chart.num_cells_sent == before


@in_loop
async def test_the_cursor_reads_the_smoothed_and_the_told_value_of_each_run() -> None:
    app = Host()
    async with app.run_test(size=(80, 12)):
        app.chart.weight = 0.9
        app.chart.is_log = True
        app.chart.show([Run("a", [1, 2], [1.0, 0.5]), Run("b", [1, 2], [4.0, 2.0])], Window(0, 4), cursor=2)
        app.chart.draw()
        assert app.chart.text.splitlines()[0] == "  loss  at 2: 0.7368 (0.5)  2.947 (2)  log smooth 0.9"
        assert "│" in app.chart.text


@in_loop
async def test_lists_made_anew_are_drawn_anew() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)):
        app.chart.show([Run("a", [1, 2], [1.0, 1.0])], Window(0, 10))
        app.chart.draw()
        app.chart.show([Run("a", [1, 2], [3.0, 3.0])], Window(0, 10))
        app.chart.draw()
        assert app.chart.text.splitlines()[0] == "  loss  3"


@in_loop
async def test_nothing_measured_is_said_and_too_small_a_place_has_the_title() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)) as pilot:
        app.chart.show([], Window(0, 10))
        app.chart.draw()
        assert "nothing measured yet" in app.chart.text
        await pilot.resize_terminal(60, 2)
        assert app.chart.text == "  loss"


@in_loop
async def test_ascii_draws_ascii() -> None:
    app: Any = Host(ascii_only=True)
    async with app.run_test(size=(60, 12)):
        app.chart.show([Run("a", STEPS, VALUES), Run("b", STEPS, [value / 2 for value in VALUES])], Window(0, 500), cursor=100)
        app.chart.draw()
        assert app.chart.text.isascii()
        assert "o" in app.chart.text.split("\n", 1)[1]
