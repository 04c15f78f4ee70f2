from __future__ import annotations

from rich.text import Text

from negtui.app import NegtuiApp
from negtui.screens.reading import ReadingScreen
from tests.curation_daemon import client, in_loop, press
from tests.snapshots.screens import text_of


@in_loop
async def test_long_text_is_scrolled_by_keys_and_closed() -> None:
    app = NegtuiApp(client().connect, start="jobs")  # type: ignore[arg-type]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        before, screen = app.screen, ReadingScreen()
        await app.push_screen(screen)
        screen.tell(Text("\n".join(f"line {number}" for number in range(100))))
        await press(pilot, "G")
        assert "line 99" in text_of(app)
        await press(pilot, "g")
        assert "line 0" in text_of(app)
        await press(pilot, "down", "pagedown", "up", "pageup", "q")
        assert app.screen is before
