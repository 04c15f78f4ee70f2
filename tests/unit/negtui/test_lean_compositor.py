from __future__ import annotations

import re
from typing import Any

from textual.app import App, ComposeResult
from textual.screen import Screen

from negtui.lean_compositor import LeanCompositor
from negtui.widgets.cells import CellWidget, cells
from tests.curation_daemon import in_loop

ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Lean(Screen[None]):
    CSS = "CellWidget { height: 2; }"

    def __init__(self) -> None:
        super().__init__()
        self._compositor = LeanCompositor()

    def compose(self) -> ComposeResult:
        yield CellWidget()


class Host(App[None]):
    def on_mount(self) -> None:
        self.push_screen(Lean())


async def written(app: Any, rows: list[str], pilot: Any) -> str:
    """What the terminal is sent for these rows after those before."""
    updates: list[str] = []
    compositor = app.screen._compositor
    render = type(compositor).render_partial_update

    def keep() -> Any:
        update = render(compositor)
        if update is not None:
            updates.append(update.render_segments(app.console))
        return update

    compositor.render_partial_update = keep
    app.screen.query_one(CellWidget).paint([cells(row, 0) for row in rows])
    await pilot.pause(0.2)
    del compositor.render_partial_update
    return "".join(updates)


@in_loop
async def test_a_changed_digit_is_a_digit_on_the_wire() -> None:
    app = Host()
    async with app.run_test(size=(80, 10)) as pilot:
        await written(app, ["a long line with step 10 of 90 in it", "another"], pilot)
        sent = await written(app, ["a long line with step 11 of 90 in it", "another"], pilot)
        assert sent.startswith("\x1b[1;24H")
        assert ESCAPES.sub("", sent) == "1"
        assert len(sent) < 60


@in_loop
async def test_changes_at_two_places_of_a_row_and_in_two_rows_are_all_written() -> None:
    app = Host()
    async with app.run_test(size=(80, 10)) as pilot:
        await written(app, ["aaaaaaaaaa", "bbbbbbbbbb"], pilot)
        sent = await written(app, ["aXaaaaaaYa", "bbbbbbbbbZ"], pilot)
        assert ESCAPES.sub("", sent) == "XaaaaaaYZ"
