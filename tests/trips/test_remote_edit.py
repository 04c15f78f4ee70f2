"""`e` where the daemon is elsewhere, over real sockets: a fault, another person's change, a daemon restarted meanwhile. No text is lost."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest
from textual.drivers.headless_driver import HeadlessDriver

from negtui.app import NegtuiApp
from negtui.client import Client
from negtui.screens.sessions import SessionsScreen
from negtui.widgets.confirm import Confirm
from tests.curation_daemon import told
from tests.trips.conftest import FrontProcess
from tests.trips.test_dashboard import until


def test_nothing_is_lost_between_two_who_edit(front: FrontProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(HeadlessDriver, "can_suspend", property(lambda self: True))
    host = front.places.sessions_path / "fake/session.toml"
    before = host.read_text()
    wrong, theirs = f"{before}[synthesis]\nwidth = 7\n", f"{before}[training]\nrank = 8\n"

    def make_a_fault(paths: list[Path]) -> None:
        paths[0].write_text(wrong)

    def be_too_late(paths: list[Path]) -> None:
        host.write_text(theirs)
        paths[0].write_text(f"{before}# mine\n")

    def bring_both_together(paths: list[Path]) -> None:
        paths[0].write_text(f"{paths[1].read_text()}# mine\n")
        front.kill()
        front.start()

    acts: list[Callable[[list[Path]], None]] = [make_a_fault, be_too_late, bring_both_together]

    def edit(command: Sequence[str]) -> int:
        acts.pop(0)([Path(word) for word in command[1:]])
        return 0

    async def scene() -> None:
        app = NegtuiApp(lambda on_contact, start: Client.connect(front.endpoints, on_contact=on_contact), endpoint="ssh://there")
        async with app.run_test(size=(120, 30)) as pilot:
            await until(pilot, lambda: isinstance(app.screen, SessionsScreen))
            screen = cast("SessionsScreen", app.screen)
            screen.run_editor = edit
            await until(pilot, lambda: screen.table.session == "fake")
            await pilot.press("e")
            await until(pilot, lambda: "sessions/fake/session.toml, line 5: synthesis.width is 7" in told(app))
            assert host.read_text() == before
            await pilot.press("e")
            await until(pilot, lambda: isinstance(app.focused, Confirm))
            await pilot.press("n")
            await until(pilot, lambda: "somebody else changed its session.toml" in told(app))
            assert host.read_text() == theirs
            await pilot.press("e")
            await until(pilot, lambda: isinstance(app.focused, Confirm))
            await pilot.press("y")
            await until(pilot, lambda: "fake: its session.toml is written" in told(app))
            assert host.read_text() == f"{theirs}# mine\n"

    asyncio.run(scene())
    assert sorted(path.read_text() for path in tmp_path.glob("negtui-*/*.toml")) == sorted([wrong, theirs])
