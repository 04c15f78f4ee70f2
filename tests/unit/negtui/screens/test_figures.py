from __future__ import annotations

import msgspec
from textual.widgets import Static

from daemon.protocol.diagnosis import CURVES, ArmGuidance, Diagnosis
from tests.curation_daemon import client, in_loop, press
from tests.snapshots.screens import text_of
from tests.unit.negtui.screens.test_compare import ROWS, app, opened


@in_loop
async def test_where_the_figures_take_the_screen_the_keys_scroll_them_to_their_end() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(60, 20)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "e", "G")
        figures = screen.query_one("#compare-effects")
        assert figures.scroll_y == figures.max_scroll_y
        await press(pilot, "g")
        assert (figures.scroll_y, screen.looking.block) == (0, 0)
        await press(pilot, "e", "down")
        assert screen.looking.block == 1


@in_loop
async def test_figures_stand_beside_with_their_intervals() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "e")
        await pilot.pause(0.2)
        words = str(screen.query_one("#compare-figures", Static).content)
        assert "flaw_probability: target - baseline" in words
        assert "[-0.079, -0.034] better" in words
        assert "[b]baseline[/b]" in words
        assert "flaw_probability: target" in text_of(pilot.app)


@in_loop
async def test_beside_the_pictures_the_figures_have_keys_of_their_own() -> None:
    curves = dict.fromkeys(CURVES, (0.5, 1.0))
    guidance = Diagnosis(blocks=(0,), arms=(ArmGuidance(arm="target", timesteps=(999.0, 500.0), curves=curves),))
    async with app(client(sessions=ROWS)).run_test(size=(120, 30)) as pilot:
        screen = await opened(pilot)
        assert screen.looking.answer is not None
        screen.looking.answer = msgspec.structs.replace(screen.looking.answer, diagnosis=guidance)
        await press(pilot, "J", "e")
        await pilot.pause(0.2)
        figures = screen.query_one("#compare-effects")
        assert figures.max_scroll_y > 0
        await press(pilot, "J", "J", "J")
        assert (figures.scroll_y, screen.looking.block) == (figures.max_scroll_y, 0)
        await press(pilot, "K", "K", "K")
        assert figures.scroll_y == 0
