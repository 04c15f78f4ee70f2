"""What goes to the terminal, in bytes, where a whole screen is at work. Bytes are counted, never time."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Static

from daemon.protocol.commands import SessionRow
from negtui.app import NegtuiApp
from negtui.pixels.base import Choice
from negtui.pixels.pictures import Pictures
from negtui.widgets.curve_grid import CurveGrid
from negtui.widgets.image_view import ImageView, Picture
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS
from tests.fake_terminal import FakeTerminal, WindowDriver, in_loop
from tests.long_training import METRICS, NUM_POINTS, STEPS_PER_SECOND, points, progress
from tests.sample_pictures import busy, webp
from tests.training_daemon import TrainingDaemon

HALF_SCROLL_BYTES = 80_000
BYTES_PER_SECOND = 10_000
DRAWS_PER_SECOND = 4
NUM_SECONDS = 5


@pytest.fixture(autouse=True)
def truecolour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def num_written(app: App[None]) -> int:
    driver = app._driver
    assert isinstance(driver, WindowDriver)
    return driver.text_bytes + driver.picture_bytes


class Scroller(App[None]):
    """A picture of 60 x 30 cells above a long text."""

    CSS = "ImageView { width: 60; height: 30; } Static { height: 60; }"

    def __init__(self) -> None:
        super().__init__()
        self.driver_class = WindowDriver.of(FakeTerminal(80, 41))
        self.pictures = Pictures(self.fetch, Choice(backend="half", available=("half", "off"), over_ssh=True))
        self.area = VerticalScroll()

    async def fetch(self, session: str, path: str) -> bytes:
        return webp(busy(), 512)

    def compose(self) -> ComposeResult:
        with self.area:
            yield ImageView(Picture("toy", "dataset/a.png", 1024, 1024))
            yield Static("\n".join(f"text {number}" for number in range(60)))


@in_loop
async def test_scrolling_by_twenty_rows_with_half_blocks_on_the_screen() -> None:
    app = Scroller()
    async with app.run_test(headless=False) as pilot:
        for _ in range(200):
            await pilot.pause(0.02)
            if app.query_one(ImageView).drawn == "half":
                break
        assert app.query_one(ImageView).drawn == "half"
        await pilot.pause(0.1)
        before = num_written(app)
        app.area.scroll_to(y=20, animate=False)
        await pilot.pause(0.2)
        assert app.area.scroll_y == 20
        assert 1_000 < num_written(app) - before <= HALF_SCROLL_BYTES


async def drawn_again(pilot: Pilot[None], grid: CurveGrid) -> None:
    """Until the charts have been drawn once more."""
    before = grid.num_draws
    for _ in range(200):
        if grid.num_draws > before:
            return
        await pilot.pause(0.02)
    raise AssertionError("The charts were not drawn.")


@in_loop
async def test_what_four_charts_and_the_numbers_of_a_training_write_in_a_second() -> None:
    fake = FakeClient(TrainingDaemon(), (SessionRow(name="toy"),))
    row = fake.daemon.add(JOBS["train"], "running", id="run000001")
    app = NegtuiApp(fake.connect, start="train", driver_class=WindowDriver.of(FakeTerminal(200, 60)))
    async with app.run_test(headless=False) as pilot:
        await pilot.pause(0.4)
        grid = app.screen.query_one(CurveGrid)
        fake.tell(points(row, 1, NUM_POINTS))
        await drawn_again(pilot, grid)
        await pilot.pause(0.5)
        assert all(len(grid.chart(name).text.splitlines()[0].split()) > 1 for name in METRICS), "each tells its newest value"
        before, step = num_written(app), NUM_POINTS
        for draw in range(NUM_SECONDS * DRAWS_PER_SECOND):
            step += (count := STEPS_PER_SECOND // DRAWS_PER_SECOND)
            fake.tell(points(row, step - count + 1, count), *([progress(row, step)] if draw % 2 else []))
            await drawn_again(pilot, grid)
        await pilot.pause(0.2)
        assert str(step) in app.screen.query_one("#run").text  # type: ignore[attr-defined]
        assert 100 < (num_written(app) - before) / NUM_SECONDS <= BYTES_PER_SECOND
