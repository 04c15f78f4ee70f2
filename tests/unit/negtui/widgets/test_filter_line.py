from __future__ import annotations

from textual.app import App, ComposeResult
from textual.widgets import Static

from negtui.widgets.filter_line import FilterLine
from tests.curation_daemon import in_loop


class Page(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.typed: list[tuple[str, str]] = []

    def compose(self) -> ComposeResult:
        page = Static("", id="page")
        page.can_focus = True
        yield page
        yield FilterLine()

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        self.typed.append((message.owner, message.text))


@in_loop
async def test_it_tells_each_letter_enter_keeps_and_esc_clears() -> None:
    app = Page()
    async with app.run_test() as pilot:
        line = app.query_one(FilterLine)
        assert not line.display
        line.open_for("page", "")
        await pilot.press("a", "b", "enter")
        await pilot.pause()
        assert app.typed == [("page", "a"), ("page", "ab")]
        assert not line.display
        assert app.focused is app.query_one("#page")
        line.open_for("page", "ab")
        await pilot.press("escape")
        await pilot.pause()
        assert app.typed[-1] == ("page", "")
        assert not line.display
