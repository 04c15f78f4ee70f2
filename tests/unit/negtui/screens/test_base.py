from __future__ import annotations

import pytest

from negtui.app import NegtuiApp
from negtui.keys import SCREENS
from negtui.screens.base import MIN_HEIGHT, MIN_WIDTH
from tests.curation_daemon import client, in_loop
from tests.snapshots.screens import text_of

SMALL = (MIN_WIDTH - 1, MIN_HEIGHT - 1)


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.parametrize("size", [(80, 24), (60, 20), (200, 60), (20, 5)])
@in_loop
async def test_every_screen_opens_at_every_size(name: str, size: tuple[int, int]) -> None:
    app = NegtuiApp(client().connect, start=name)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.3)
        text = text_of(app)
        if size == (20, 5):
            assert "60x20" in " ".join(text.split())
        else:
            assert "q quit, jobs go on" in text
            assert "connected" in text


@in_loop
async def test_too_small_a_terminal_says_what_it_needs_and_recovers() -> None:
    app = NegtuiApp(client().connect, start="jobs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        for size in (SMALL, (1, 1), (300, 90), (40, 100), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.05)
        assert "[5 Jobs]" in text_of(app)
        await pilot.resize_terminal(*SMALL)
        await pilot.pause(0.1)
        assert f"negtui needs 60x20; this terminal has {SMALL[0]}x{SMALL[1]}." in text_of(app)
        assert "[5 Jobs]" not in text_of(app)


@in_loop
async def test_what_a_lost_daemon_told_is_dimmed_and_the_line_says_so() -> None:
    fake = client()
    app = NegtuiApp(fake.connect, start="gpu")
    async with app.run_test(size=(100, 24)) as pilot:
        await pilot.pause(0.2)
        fake.lose("It is gone.")
        await pilot.pause(0.2)
        assert "NO CONNECTION for 0 s: It is gone." in text_of(app)
        assert app.screen.has_class("-stale")
        assert app.screen.query_one("#workers").styles.text_opacity < 1.0
        fake.find_again()
        await pilot.pause(0.2)
        assert "connected" in text_of(app)
        assert app.screen.query_one("#workers").styles.text_opacity == 1.0
