from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from daemon.protocol.voting import RoundSpec
from negtui.app import NegtuiApp
from negtui.screens.help import HelpScreen
from negtui.screens.jobs import JobsScreen
from negtui.voting import Voting
from tests.curation_daemon import client, in_loop, press
from tests.snapshots.screens import SIZES, text_of
from tests.unit.negtui.screens.test_vote import answer, opened
from tests.voting_daemon import VotingDaemon
from tests.voting_daemon import client as voting_client


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


@in_loop
async def test_a_key_that_does_something_else_here_is_told_so(tmp_path: Path) -> None:
    app = NegtuiApp(
        voting_client(VotingDaemon(tmp_path)).connect, voting=Voting("toy", "default", "me", RoundSpec(num_trials=1, repeat_share=0))
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        text = await help_of(pilot)
        assert "  1                      the first picture from the left is better\n" in text
        assert "  1                      the sessions screen (here it does something else)\n" in text
        assert "  4                      the compare screen\n" in text
        await answer(pilot, "1", "c")
        await press(pilot, "y")
        for _ in range(100):
            if "-results" in pilot.app.screen.classes:
                break
            await pilot.pause(0.05)
        assert "  1                      the sessions screen\n" in await help_of(pilot)


async def help_of(pilot: Pilot[None]) -> str:
    """What help tells, which is then closed."""
    await press(pilot, "question_mark")
    text = str(pilot.app.screen.query_one("#reading-text", Static).content)
    await press(pilot, "escape")
    return text
