from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from negtui.pixels.pictures import Pictures
from negtui.widgets.arm_grid import ArmGrid, ArmRow, BlockView, Column, Shown
from negtui.widgets.image_view import Picture
from tests.curation_daemon import in_loop, painting, png
from tests.snapshots.screens import text_of

ARMS = [f"arm{number}" for number in range(5)]
ROWS = [ArmRow(f"prompt \x1b[31m[b]{row}", tuple(Picture("toy", f"{row}-{arm}.png", 64, 64) for arm in ARMS)) for row in range(9)]


class Small(App[None]):
    CSS = "ArmGrid, BlockView { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.pictures = Pictures(self.fetch)

    async def fetch(self, session: str, path: str) -> bytes:
        self.fetched.append(path)
        return png(painting(1))

    def compose(self) -> ComposeResult:
        yield ArmGrid()
        yield BlockView()


@pytest.mark.parametrize(("size", "num_rows", "num_arms"), [((80, 32), 2, 5), ((40, 20), 1, 2)])
@in_loop
async def test_as_many_blocks_and_arms_as_there_is_room_for(size: tuple[int, int], num_rows: int, num_arms: int) -> None:
    app = Small()
    async with app.run_test(size=size) as pilot:
        grid = app.query_one(ArmGrid)
        grid.show(ARMS, ROWS, 0, 0)
        await pilot.pause(0.2)
        assert (grid.page_size, grid.num_columns) == (num_rows, num_arms)
        text = text_of(app)
        assert "prompt [b]0" in text
        assert "> arm0" in text
        assert not any(path.startswith(".thumbnails/64/8-") for path in app.fetched)
        grid.show(ARMS, ROWS, 8, 4)
        await pilot.pause(0.2)
        text = text_of(app)
        assert "prompt [b]8" in text
        assert "> arm4" in text
        assert "prompt [b]0" not in text


@in_loop
async def test_in_place_all_arms_stand_in_the_same_spot_with_one_in_front() -> None:
    app = Small()
    async with app.run_test(size=(80, 32)) as pilot:
        view = app.query_one(BlockView)
        shown = [Shown(Picture("toy", f"{number}.png", 64, 64), f"arm {number}") for number in range(3)]
        await view.show(shown, 0, in_place=False)
        await pilot.pause(0.1)
        assert len({column.region for column in view.query(Column)}) == 3
        await view.show(shown, 0, in_place=True)
        await pilot.pause(0.1)
        assert len({column.region for column in view.query(Column)}) == 1
        assert "> arm 0" in text_of(app)
        await view.show(shown, 1, in_place=True)
        await pilot.pause(0.1)
        assert "> arm 1" in text_of(app)
        assert "arm 0" not in text_of(app)


@in_loop
async def test_pictures_in_memory_give_way_to_those_of_a_session_and_back() -> None:
    app = Small()
    async with app.run_test(size=(80, 32)) as pilot:
        view = app.query_one(BlockView)
        made, stored = Shown(painting(2), "made", "key"), Shown(Picture("toy", "0.png", 64, 64), "stored")
        for one, words in ((made, "made"), (stored, "stored"), (made, "made"), (Shown(None, "nothing"), "nothing")):
            await view.show([one], 0, in_place=True)
            await pilot.pause(0.2)
            assert f"> {words}" in text_of(app)
            assert ("▀" in text_of(app)) == (words != "nothing")
