from __future__ import annotations

import asyncio

from textual.app import App

from negtui.screens.beside import beside
from tests.curation_daemon import in_loop


@in_loop
async def test_what_is_overtaken_ends_and_the_last_one_is_done() -> None:
    app: App[None] = App()
    done: list[int] = []

    async with app.run_test() as pilot:
        for number in range(3):

            async def work(number: int = number) -> None:
                await asyncio.sleep(0.05)
                done.append(number)

            beside(app, work, "work")
        await pilot.pause(0.3)
        assert done == [2]
        for _ in range(2):
            beside(app, work, "all", exclusive=False)
        await pilot.pause(0.3)
        assert done == [2, 2, 2]
