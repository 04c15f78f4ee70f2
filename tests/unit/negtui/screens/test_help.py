from __future__ import annotations

import pytest

from negtui.app import NegtuiApp
from negtui.screens.help import HelpScreen
from negtui.screens.jobs import JobsScreen
from tests.curation_daemon import client, in_loop, press
from tests.snapshots.screens import SIZES, text_of


@pytest.mark.parametrize("key", ["question_mark", "f1"])
@pytest.mark.parametrize("size", [*SIZES, (60, 20)])
@in_loop
async def test_it_tells_the_keys_of_the_screen_first_and_closes(size: tuple[int, int], key: str) -> None:
    app = NegtuiApp(client().connect, start="jobs", keymap={"jobs.cancel": "ctrl+x"})
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.2)
        await press(pilot, key)
        assert isinstance(app.screen, HelpScreen)
        text = text_of(app)
        assert text.startswith("  Jobs (here)")
        assert "ctrl+x                 cancel the job" in text
        await press(pilot, "G")
        assert "Leaving never stops the daemon" in text_of(app)
        await press(pilot, "escape")
        assert isinstance(app.screen, JobsScreen)


@in_loop
async def test_keys_of_the_focused_pane_are_told_before_others() -> None:
    app = NegtuiApp(client().connect, start="jobs")
    async with app.run_test(size=(120, 60)) as pilot:
        await pilot.pause(0.2)
        await press(pilot, "tab", "question_mark")
        assert "Log (here)" in text_of(app)
        await press(pilot, "q")
        assert isinstance(app.screen, JobsScreen)
