from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult

from negtui.view import Line
from negtui.widgets.log_pane import LogPane
from tests.curation_daemon import in_loop
from tests.snapshots.screens import text_of


class Page(App[None]):
    def compose(self) -> ComposeResult:
        yield LogPane()


def lines(count: int, level: Any = "info") -> list[Line]:
    return [Line(0.0, level, f"line {number}") for number in range(count)]


@in_loop
async def test_it_follows_until_one_moves_up_and_again_by_G() -> None:
    app, told = Page(), lines(50)
    async with app.run_test(size=(40, 10)) as pilot:
        pane = app.query_one(LogPane)
        pane.focus()
        pane.show(told)
        await pilot.pause()
        assert "line 49" in text_of(app)
        await pilot.press("k")
        told += [Line(0.0, "info", "the newest")]
        pane.show(told)
        await pilot.pause()
        assert "the newest" not in text_of(app)
        assert "not following" in pane.words
        await pilot.press("G")
        await pilot.pause()
        assert "the newest" in text_of(app)
        await pilot.press("g", "g")
        await pilot.pause()
        assert "line 0\n" in text_of(app)


@in_loop
async def test_filter_level_and_the_next_warning() -> None:
    app = Page()
    async with app.run_test(size=(40, 5)) as pilot:
        pane = app.query_one(LogPane)
        pane.focus()
        pane.show([*lines(20), Line(0.0, "error", "It broke"), *lines(20)])
        await pilot.press("g", "n")
        await pilot.pause()
        assert "ERROR It broke" in text_of(app)
        await pilot.press("w")
        await pilot.pause()
        assert text_of(app).count("00:00:00") <= 1
        pane.filter = "nothing like it"
        await pilot.pause()
        assert "no line is like that" in text_of(app)
        assert "with 'nothing like it', warnings and errors" in pane.words


@in_loop
async def test_long_lines_are_broken_and_escapes_and_markup_are_letters() -> None:
    app = Page()
    async with app.run_test(size=(40, 10)) as pilot:
        app.query_one(LogPane).show([Line(0.0, "info", "[red]a[/red] \x1b[31m" + "word " * 20)])
        await pilot.pause()
        text = text_of(app)
        assert "[red]a[/red]" in text
        assert "\x1b" not in text
        assert text.count("word") == 20


@in_loop
async def test_only_new_lines_are_laid_out() -> None:
    app, told = Page(), lines(3)
    async with app.run_test(size=(40, 10)) as pilot:
        pane, laid = app.query_one(LogPane), []
        original = pane._laid_out
        pane._laid_out = lambda line, width: laid.append(line.text) or original(line, width)  # type: ignore[method-assign, func-returns-value]
        pane.show(told)
        told.append(Line(0.0, "info", "new"))
        laid.clear()
        pane.show(told)
        await pilot.pause()
        assert laid == ["new"]
