from __future__ import annotations

import asyncio

import pytest

from negtui.app import NegtuiApp
from tests.curation_daemon import client, in_loop
from tests.snapshots.screens import text_of


@pytest.mark.parametrize(("key", "answer"), [("y", True), ("n", False), ("escape", False), ("enter", False), ("x", False), ("tab", False)])
@in_loop
async def test_only_y_is_yes(key: str, answer: bool) -> None:
    app = NegtuiApp(client().connect, start="jobs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        before = app.focused
        asked = asyncio.create_task(app.confirm("Cancel \x1b[2Jtrain [b]toy[/b]?"))
        await pilot.pause(0.1)
        assert "Cancel train [b]toy[/b]? y: yes, any other key: no" in text_of(app)
        await pilot.press(key)
        assert await asked is answer
        await pilot.pause(0.1)
        assert "any other key" not in text_of(app)
        assert app.focused is before


@in_loop
async def test_a_second_question_answers_the_first_with_no() -> None:
    app = NegtuiApp(client().connect, start="jobs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        first = asyncio.create_task(app.confirm("First?"))
        await pilot.pause(0.1)
        second = asyncio.create_task(app.confirm("Second?"))
        await pilot.pause(0.1)
        assert await first is False
        await pilot.press("y")
        assert await second is True
