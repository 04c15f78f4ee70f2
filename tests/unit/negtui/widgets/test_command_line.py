from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from negtui.app import NegtuiApp
from negtui.widgets.command_line import CommandLine
from tests.curation_daemon import client, in_loop, press
from tests.snapshots.screens import text_of


def opened(monkeypatch: pytest.MonkeyPatch, **named: bool) -> tuple[NegtuiApp, list[Sequence[str]]]:
    """A dashboard whose terminal can be lent, and what was run on it."""
    app = NegtuiApp(client().connect, start="jobs", command=("python", "-m", "negtui.cli", "--workspace", "/w"), **named)
    ran: list[Sequence[str]] = []

    @contextmanager
    def suspend() -> Iterator[None]:
        yield

    monkeypatch.setattr(app, "suspend", suspend)
    return app, ran


@in_loop
async def test_a_command_runs_on_the_same_daemon_and_the_focus_comes_back() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        app, ran = opened(monkeypatch)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause(0.2)
            before = app.focused
            line = app.screen.query_one(CommandLine)
            line._run = ran.append
            await press(pilot, "exclamation_mark", *"negtui results", "space", *"toy", "enter")
            assert ran == [["python", "-m", "negtui.cli", "--workspace", "/w", "results", "toy"]]
            await pilot.pause(0.1)
            assert app.focused is before


@in_loop
async def test_escape_and_an_unfinished_quotation_run_nothing() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        app, ran = opened(monkeypatch)
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await pilot.pause(0.2)
            line = app.screen.query_one(CommandLine)
            line._run = ran.append
            await press(pilot, "exclamation_mark", *"set", "quotation_mark", "enter")
            assert "No closing quotation" in text_of(app)
            await press(pilot, "escape")
            assert not line.has_class("-open")
            assert ran == []


@in_loop
async def test_read_only_gives_no_commands() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        app, _ = opened(monkeypatch, read_only=True)
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await pilot.pause(0.2)
            await press(pilot, "exclamation_mark")
            assert "read-only" in text_of(app)
            assert not app.screen.query_one(CommandLine).has_class("-open")
