from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input

from negtui.turns import KeyTurns
from tests.curation_daemon import in_loop


class Asking(App[None]):
    """`n` opens a line to type in, `r` does something that must not happen while one types."""

    BINDINGS: ClassVar[list[BindingType]] = [("n", "open", ""), ("r", "run", "")]
    AUTO_FOCUS = ""

    def __init__(self, takes_turns: bool) -> None:
        super().__init__()
        self.turns = KeyTurns(self) if takes_turns else None
        self.num_runs = 0

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Input()

    async def on_event(self, event: events.Event) -> None:
        if self.turns is None or not (isinstance(event, events.Key) and not event.is_forwarded and self.turns.holds(event)):
            await super().on_event(event)

    def action_open(self) -> None:
        self.query_one(Input).focus()

    def action_run(self) -> None:
        self.num_runs += 1


async def typed_ahead(takes_turns: bool) -> tuple[str, int]:
    """What the line holds, and how often the other key was obeyed."""
    app = Asking(takes_turns)
    async with app.run_test() as pilot:
        for letter in "nrunner":
            app.post_message(events.Key(letter, letter))
        await pilot.pause(0.3)
        return app.query_one(Input).value, app.num_runs


@in_loop
async def test_what_is_typed_ahead_goes_into_the_line_that_a_key_opened() -> None:
    assert await typed_ahead(takes_turns=True) == ("runner", 0)


@in_loop
async def test_without_turns_it_goes_astray() -> None:
    assert await typed_ahead(takes_turns=False) != ("runner", 0)


@in_loop
async def test_a_key_whose_effect_has_no_end_holds_the_next_ones_only_for_a_moment() -> None:
    app = Asking(takes_turns=True)
    async with app.run_test() as pilot:
        app.turns._is_under_way = lambda: True  # type: ignore[union-attr, method-assign]
        for letter in "rr":
            app.post_message(events.Key(letter, letter))
        await pilot.pause(1.0)
        assert app.num_runs == 2
