from __future__ import annotations

import asyncio
from typing import Any

from textual.app import App, ComposeResult

from negtui.widgets.curve_grid import FIRST, CurveGrid
from negtui.widgets.loss_chart import LossChart, Run
from tests.curation_daemon import in_loop

STEPS = list(range(1, 201))


class Host(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.grid = CurveGrid()
        self.moves: list[int | None] = []

    def compose(self) -> ComposeResult:
        yield self.grid

    def on_curve_grid_moved(self, message: CurveGrid.Moved) -> None:
        self.moves.append(message.step)

    @property
    def in_sight(self) -> list[str]:
        return [chart.metric for chart in self.query(LossChart) if not chart.has_class("-away")]


def some(*names: str) -> dict[str, list[Run]]:
    return {name: [Run("a", STEPS, [1.0 / step for step in STEPS])] for name in names}


@in_loop
async def test_known_metrics_have_their_places_and_others_come_behind() -> None:
    app: Any = Host()
    async with app.run_test(size=(110, 40)) as pilot:
        app.grid.show(some("loss", "adapter_norm"), 500)
        await pilot.pause(0.3)
        assert app.in_sight == [*FIRST, "adapter_norm"]
        assert app.grid.window.last == 500
        assert "0.005" in app.grid.chart("adapter_norm").text.splitlines()[0]


@in_loop
async def test_charts_that_do_not_fit_are_a_page_away() -> None:
    app: Any = Host()
    async with app.run_test(size=(80, 16)) as pilot:
        app.grid.focus()
        app.grid.show(some("loss"), 0)
        await pilot.pause(0.3)
        assert app.in_sight == ["loss", "held_out_loss", "learning_rate", "grad_norm"]
        await pilot.press("up")
        assert app.in_sight == ["separation", "leak"]
        await pilot.press("f")
        assert app.in_sight == ["leak"]
        assert app.grid.back()
        assert app.in_sight == ["separation", "leak"]


@in_loop
async def test_cursor_and_zoom_are_those_of_all_charts() -> None:
    app: Any = Host()
    async with app.run_test(size=(110, 40)) as pilot:
        app.grid.focus()
        app.grid.show(some("loss", "grad_norm"), 0)
        await pilot.pause(0.3)
        await pilot.press("left")
        assert app.grid.cursor == 200
        await pilot.press("home", "right", "plus")
        assert app.grid.cursor is not None
        assert 1 < app.grid.cursor < 20
        assert app.grid.window.length == 100
        assert f"at {app.grid.cursor}:" in app.grid.chart("grad_norm").text
        await pilot.press("end")
        assert app.grid.window.last >= 200
        assert [app.grid.back(), app.grid.back(), app.grid.back()] == [True, True, False]
        assert (app.grid.cursor, app.grid.window.length) == (None, 200)
        await pilot.pause()
        assert app.moves[0] == 200
        assert app.moves[-1] is None


@in_loop
async def test_log_and_smoothing_are_the_chosen_charts_own() -> None:
    app: Any = Host()
    async with app.run_test(size=(110, 40)) as pilot:
        app.grid.focus()
        app.grid.show(some("loss", "held_out_loss"), 0)
        await pilot.pause(0.3)
        await pilot.press("j", "o", "s")
        chosen, other = app.grid.chart("held_out_loss"), app.grid.chart("loss")
        assert (chosen.is_log, chosen.weight) == (True, 0.6)
        assert (other.is_log, other.weight) == (False, 0.9)


@in_loop
async def test_however_often_data_comes_it_is_drawn_four_times_a_second_at_most_and_never_without() -> None:
    app: Any = Host()
    async with app.run_test(size=(110, 40)) as pilot:
        await pilot.pause(0.3)
        before = -1
        while before != app.grid.num_draws:  # until the first drawing lies longer back than two may follow each other
            before = app.grid.num_draws
            await asyncio.sleep(0.4)
        for _ in range(100):
            app.grid.show(some("loss"), 0)
        assert app.grid.num_draws - before <= 1
        await asyncio.sleep(0.6)
        assert app.grid.num_draws - before == 2
        await asyncio.sleep(0.6)
        assert app.grid.num_draws - before == 2


@in_loop
async def test_a_million_points_are_taken_up_in_parts_until_all_are_drawn() -> None:
    app: Any = Host()
    steps = list(range(1, 1_000_001))
    async with app.run_test(size=(110, 40)) as pilot:
        await pilot.pause(0.3)
        app.grid.show({"loss": [Run("a", steps, [1.0] * 999_999 + [1001.0])]}, 1_000_000)
        for _ in range(100):
            await pilot.pause(0.1)
            if app.grid.num_draws > 3 and not app.grid.chart("loss").is_behind:
                break
        assert app.grid.chart("loss").text.splitlines()[0].endswith("loss  101  smooth 0.9")
