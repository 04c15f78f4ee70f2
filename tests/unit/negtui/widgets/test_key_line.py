from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from negtui.app import NegtuiApp
from negtui.widgets.key_line import KeyLine, keys_text
from tests.curation_daemon import client, in_loop, press


@given(st.lists(st.text(alphabet="ab", min_size=1, max_size=12), max_size=12), st.integers(min_value=40, max_value=120))
def test_help_and_leaving_are_always_there(first: list[str], width: int) -> None:
    line = keys_text(first, ["? help", "q quit"], width).plain
    assert len(line) <= width
    assert "? help  q quit" in line


@in_loop
async def test_the_footer_says_that_leaving_stops_nothing() -> None:
    app = NegtuiApp(client().connect, start="jobs", keymap={"jobs.cancel": "ctrl+x"})
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause(0.3)
        line = str(app.screen.query_one(KeyLine).render())
        assert "q quit, jobs go on" in line
        assert "ctrl+x cancel" in line
    read_only = NegtuiApp(client().connect, start="jobs", read_only=True)
    async with read_only.run_test(size=(120, 30)) as pilot:
        await pilot.pause(0.3)
        line = str(read_only.screen.query_one(KeyLine).render())
        assert "enter log" in line
        assert "cancel" not in line


@in_loop
async def test_a_key_that_would_only_be_typed_is_not_in_the_footer() -> None:
    app = NegtuiApp(client().connect)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause(0.3)
        assert "/ filter" in str(app.screen.query_one(KeyLine).render())
        await press(pilot, "n")
        line = str(app.screen.query_one(KeyLine).render())
        assert "/ filter" not in line
        assert "esc close" in line
