from __future__ import annotations

from daemon.protocol.commands import SessionRow
from negtui.screens.compare import CompareScreen
from negtui.widgets.arm_grid import BlockView, Column
from tests.curation_daemon import client, in_loop, press, told
from tests.snapshots.screens import text_of
from tests.unit.negtui.screens.test_compare import ROWS, app, opened


def seen(screen: CompareScreen) -> list[Column]:
    """The columns of the block that are to be seen."""
    return screen.query_one(BlockView).seen


@in_loop
async def test_a_block_is_opened_and_flicked_through_in_place() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "enter")
        await pilot.pause(0.3)
        assert screen.has_class("-block")
        assert [column.region.width for column in seen(screen)] != []
        assert len(seen(screen)) == 3
        await press(pilot, "space")
        await pilot.pause(0.3)
        first = seen(screen)
        assert len(first) == 1
        await press(pilot, "space")
        await pilot.pause(0.3)
        second = seen(screen)
        assert second[0] is not first[0]
        assert second[0].region == first[0].region
        assert screen.looking.arm == 1
        await press(pilot, "escape")
        assert not screen.has_class("-block")


@in_loop
async def test_zoom_difference_and_pin() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "enter", "z", "z")
        await pilot.pause(0.3)
        assert screen.looking.zoom == 2
        assert "baseline, pinned x4" in text_of(pilot.app)
        before = screen.looking.centre
        await press(pilot, "right")
        assert screen.looking.centre[0] > before[0]
        await press(pilot, "escape", "d")
        await pilot.pause(0.4)
        assert "placebo - baseline:" in text_of(pilot.app)
        await press(pilot, "right", "p")
        await pilot.pause(0.4)
        assert "baseline - placebo:" in text_of(pilot.app)
        await press(pilot, "escape", "escape")
        assert not screen.has_class("-block")


@in_loop
async def test_one_in_place_or_side_by_side_and_zoomed_back_step_by_step() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "enter", "v")
        await pilot.pause(0.3)
        assert len(seen(screen)) == 1
        await press(pilot, "v")
        await pilot.pause(0.3)
        assert len(seen(screen)) == 3
        await press(pilot, "z", "z", "Z")
        assert screen.looking.zoom == 1
        await press(pilot, "Z")
        assert screen.looking.zoom == 0
        assert screen.has_class("-block")


@in_loop
async def test_v_opens_the_block_side_by_side_and_then_changes_the_way() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "v")
        assert screen.has_class("-block")
        assert not screen.in_place
        await press(pilot, "v")
        assert screen.has_class("-block")
        assert screen.in_place


@in_loop
async def test_without_a_block_its_keys_say_so() -> None:
    keys = ("enter", "space", "v", "d", "p", "z", "Z", "e", "y", "right_square_bracket")
    async with app(client(sessions=(SessionRow(name="toy"),))).run_test(size=(100, 30)) as pilot:
        await pilot.pause(0.3)
        for key in keys:
            pilot.app.clear_notifications()
            await press(pilot, key)
            assert "There is no comparison to look at yet." in told(pilot.app), key
    async with app(client(sessions=ROWS)).run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await press(pilot, "slash", *"zzz", "enter")
        for key in keys[:-1]:
            pilot.app.clear_notifications()
            await press(pilot, key)
            assert "No block has these words" in told(pilot.app), key


@in_loop
async def test_keys_with_nowhere_to_go_say_so() -> None:
    async with app(client(sessions=())).run_test(size=(100, 30)) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "r", "J")
        assert "Choose a session on screen 1." in told(pilot.app)
        assert "e shows the metrics." in told(pilot.app)
    one = (SessionRow(name="toy", comparisons=("default",)),)
    async with app(client(sessions=one)).run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await press(pilot, "left_square_bracket")
        assert "toy has no other comparison." in told(pilot.app)
