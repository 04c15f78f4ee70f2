from __future__ import annotations

from typing import Any

import msgspec
from textual.app import App, ComposeResult

from negtui.widgets.sample_strip import Lines, SampleStrip, Tile
from tests.curation_daemon import in_loop
from tests.fake_daemon import JOBS, FakeDaemon
from tests.training_daemon import samples

ROW = FakeDaemon().add(JOBS["train"])
SAVED = [samples(ROW, step) for step in (0, 50, 100)]


class Host(App[None]):
    pictures = None

    def __init__(self) -> None:
        super().__init__()
        self.strip = SampleStrip()
        self.moves: list[int] = []

    def compose(self) -> ComposeResult:
        yield self.strip

    def on_mount(self) -> None:
        self.strip.focus()

    def on_sample_strip_moved(self, message: SampleStrip.Moved) -> None:
        self.moves.append(message.step)

    @property
    def paths(self) -> list[str]:
        tiles = [tile for tile in self.query(Tile) if not tile.has_class("-away")]
        return [tile.image.picture.path.split("/", 2)[2] if tile.image.picture else "" for tile in tiles]

    @property
    def steps(self) -> str:
        return self.query_one("#steps", Lines).text


@in_loop
async def test_the_newest_samples_are_shown_arm_by_arm_and_new_ones_as_they_come() -> None:
    app: Any = Host()
    async with app.run_test(size=(90, 16)) as pilot:
        assert "none yet" in app.steps
        app.strip.show(SAVED[:2], 64)
        await pilot.pause()
        assert app.paths == [f"step-000050/0-{arm}.png" for arm in ("baseline", "placebo", "target")]
        assert app.steps == "samples 0 [50]"
        app.strip.show(SAVED, 64)
        await pilot.pause()
        assert app.paths[2] == "step-000100/0-target.png"
        assert app.query(Tile).last().caption.text == "target 100 flaw 0.25"


@in_loop
async def test_left_and_right_scrub_all_tiles_and_the_newest_is_followed_again() -> None:
    app: Any = Host()
    async with app.run_test(size=(90, 16)) as pilot:
        app.strip.show(SAVED[:2], 64)
        await pilot.press("left", "left")
        await pilot.pause()
        assert {path[:11] for path in app.paths} == {"step-000000"}
        app.strip.show(SAVED, 64)
        assert app.strip.step == 0
        await pilot.press("right", "right", "right")
        assert app.moves == [0, 0, 50, 100, 100]
        await pilot.press("home", "end")
        app.strip.show([*SAVED, samples(ROW, 150)], 64)
        assert app.strip.step == 150


@in_loop
async def test_tiles_that_are_not_linked_move_alone() -> None:
    app: Any = Host()
    async with app.run_test(size=(90, 16)) as pilot:
        app.strip.show(SAVED, 64)
        await pilot.pause()
        app.strip.link(False)
        await pilot.press("down", "down", "left")
        await pilot.pause()
        assert [path[5:11] for path in app.paths] == ["000100", "000100", "000050"]
        assert "not linked" in app.steps
        app.strip.link(True)
        assert {path[5:11] for path in app.paths} == {"000100"}


@in_loop
async def test_a_step_of_the_charts_shows_the_samples_before_it() -> None:
    app: Any = Host()
    async with app.run_test(size=(90, 16)):
        app.strip.show(SAVED, 64)
        found = []
        for step in (0, 49, 50, 99, 1000):
            app.strip.go_to(step)
            found.append(app.strip.step)
        assert found == [0, 0, 50, 50, 100]


@in_loop
async def test_what_does_not_fit_is_a_page_away_in_whole_sets_of_arms() -> None:
    app: Any = Host()
    async with app.run_test(size=(80, 10)) as pilot:
        app.strip.show([samples(ROW, 0, ("a star", "a circle", "a square"))], 64)
        await pilot.pause()
        assert app.paths == [f"step-000000/0-{arm}.png" for arm in ("baseline", "placebo", "target")]
        await pilot.press("down", "down", "down")
        await pilot.pause()
        assert app.paths == [f"step-000000/1-{arm}.png" for arm in ("baseline", "placebo", "target")]
        await pilot.press("f")
        await pilot.pause()
        assert app.paths == ["step-000000/1-baseline.png"]
        assert app.strip.back()
        assert not app.strip.back()


@in_loop
async def test_prompt_and_seed_are_shown_as_text_and_copied() -> None:
    app: Any = Host()
    async with app.run_test(size=(80, 16)) as pilot:
        app.strip.show([samples(ROW, 0, ("[b]a[/b]\x1b[2J star",))], 64)
        await pilot.press("y")
        assert app.clipboard == "[b]a[/b] star  (seed 0)"


@in_loop
async def test_samples_told_again_change_nothing() -> None:
    app: Any = Host()
    async with app.run_test(size=(80, 16)) as pilot:
        app.strip.show(SAVED, 64)
        await pilot.pause()
        before = app.query_one("#steps", Lines).num_cells_sent
        app.strip.show([*reversed(SAVED)], 64)
        assert app.query_one("#steps", Lines).num_cells_sent == before


@in_loop
async def test_arms_stand_in_order_though_the_target_comes_later() -> None:
    app: Any = Host()
    first = samples(ROW, 0, ("a star", "a circle"))
    first = msgspec.structs.replace(first, pictures=tuple(picture for picture in first.pictures if picture.arm != "target"))
    async with app.run_test(size=(90, 20)) as pilot:
        app.strip.show([first, samples(ROW, 50, ("a star", "a circle"))], 64)
        await pilot.pause()
        assert [path[12:] for path in app.paths] == [
            f"{number}-{arm}.png" for number in (0, 1) for arm in ("baseline", "placebo", "target")
        ]
