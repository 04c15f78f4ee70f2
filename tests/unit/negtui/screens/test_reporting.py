from __future__ import annotations

from pathlib import Path

from textual.widgets import Input

from tests.curation_daemon import client, in_loop, press, told
from tests.unit.negtui.screens.test_compare import ROWS, app, opened


@in_loop
async def test_report_and_sheets_are_saved_where_one_says(tmp_path: Path) -> None:
    found = client(sessions=ROWS)

    async def fetch(session: str, path: str) -> bytes:
        return path.encode()

    found.fetch = fetch  # type: ignore[method-assign]
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "O")
        pilot.app.screen.query(Input).first().value = str(tmp_path / "here")
        await press(pilot, "enter")
        await pilot.pause(0.2)
        assert not screen.form.display
        assert "Saved" in told(pilot.app)
        assert screen.looking.text == ""
    (folder,) = (tmp_path / "here").iterdir()
    assert {"report.html", "report.md", "cells.json"} <= {path.name for path in folder.iterdir()}


@in_loop
async def test_a_folder_that_cannot_be_is_refused_in_the_form(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    found = client(sessions=ROWS)

    async def fetch(session: str, path: str) -> bytes:
        return b"x"

    found.fetch = fetch  # type: ignore[method-assign]
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "O")
        pilot.app.screen.query(Input).first().value = str(tmp_path / "file")
        await press(pilot, "enter")
        await pilot.pause(0.2)
        assert screen.form.is_open
        assert "cannot be written" in str(screen.form.query_one("#refusal").render())  # type: ignore[attr-defined]
