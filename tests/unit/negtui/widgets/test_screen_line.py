from __future__ import annotations

from negtui.widgets.screen_line import ScreenLine, screens_text


def test_the_shown_screen_is_marked_also_without_colours() -> None:
    text = screens_text("jobs").plain
    assert "[5 Jobs]" in text
    assert len(text) <= 60
    assert text.count("[") == 1
    assert ScreenLine("jobs").DEFAULT_CSS
