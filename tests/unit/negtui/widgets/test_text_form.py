from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult
from textual.widgets import Input

from negtui.widgets.text_form import Line, TextForm
from tests.curation_daemon import in_loop, press
from tests.snapshots.screens import text_of

LINES = (Line("name", "name"), Line("kind", "kind", "toy", "a kind"))


class Small(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def compose(self) -> ComposeResult:
        yield TextForm()

    def on_text_form_submitted(self, event: TextForm.Submitted) -> None:
        self.told.append((event.form, event.values))

    def on_text_form_closed(self, event: TextForm.Closed) -> None:
        self.told.append(event.form)


@in_loop
async def test_enter_goes_on_and_submits_on_the_last_line() -> None:
    app = Small()
    async with app.run_test(size=(60, 12)) as pilot:
        form = app.query_one(TextForm)
        assert not form.is_open
        await form.open("new", "New \x1b[31m[b]thing", LINES)
        await press(pilot, *"mine", "enter", *"-2", "enter")
        assert app.told == [("new", {"name": "mine", "kind": "toy-2"})]
        text = text_of(app)
        assert "New [b]thing" in text
        assert "\x1b" not in text


@in_loop
async def test_arrows_move_between_lines_and_escape_closes() -> None:
    app = Small()
    async with app.run_test(size=(60, 12)) as pilot:
        form = app.query_one(TextForm)
        await form.open("new", "New", LINES)
        fields = list(app.query(Input))
        await press(pilot, "down")
        assert fields[1].has_focus
        await press(pilot, "down", "up")
        assert fields[0].has_focus
        await press(pilot, "escape")
        assert app.told == ["new"]
        assert not form.is_open


@in_loop
async def test_a_refusal_is_said_in_the_form_and_gone_when_it_opens_again() -> None:
    app = Small()
    async with app.run_test(size=(60, 12)):
        form = app.query_one(TextForm)
        await form.open("new", "New", LINES)
        form.refuse("That is taken.")
        await app._animator.wait_for_idle()
        assert "That is taken." in str(form.query_one("#refusal").render())
        await form.open("other", "Other", LINES[:1])
        assert len([field for field in app.query(Input) if field.region]) <= 1
        assert form.values == {"name": ""}
        assert not form.query_one("#refusal").display
