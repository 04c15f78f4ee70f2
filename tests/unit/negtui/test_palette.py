from __future__ import annotations

from textual.command import Hit

from negtui.app import NegtuiApp
from negtui.keys import by_id
from negtui.palette import Actions, action_words, widget_of
from negtui.screens.gpu import GpuScreen
from negtui.screens.jobs import JobsScreen
from tests.curation_daemon import client, in_loop
from tests.snapshots.screens import text_of


@in_loop
async def test_an_action_of_another_screen_goes_there_and_is_done() -> None:
    app = NegtuiApp(client().connect, start="gpu")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        assert isinstance(app.screen, GpuScreen)
        palette = Actions(app.screen)
        found = [hit async for hit in palette.search("over, or all") if isinstance(hit, Hit)]
        assert [hit.text for hit in found] == [action_words(by_id()["jobs.open"])]
        await palette.run(by_id()["jobs.open"])
        await pilot.pause(0.2)
        assert isinstance(app.screen, JobsScreen)
        assert app.screen.only_open


@in_loop
async def test_it_opens_by_key_finds_and_runs() -> None:
    app = NegtuiApp(client().connect, start="jobs")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        await pilot.press("colon", *"the gpu screen".replace(" ", "")[:6])
        await pilot.pause(0.5)
        assert "the GPU screen" in text_of(app)
        await pilot.press("down", "enter")
        await pilot.pause(0.5)
        assert isinstance(app.screen_in_front, GpuScreen)


@in_loop
async def test_an_action_of_a_widget_that_is_not_here_is_said_so() -> None:
    app = NegtuiApp(client().connect, start="gpu")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.pause(0.2)
        assert widget_of(app.screen, by_id()["log.level"]) is None
        await Actions(app.screen).run(by_id()["log.level"])
        await pilot.pause(0.2)
        assert "There is nothing to do this to here (log)." in text_of(app)
