from __future__ import annotations

from daemon.protocol.commands import ChangeSession
from daemon.protocol.errors import NegError
from negtui.app import NegtuiApp
from negtui.screens.dataset import DatasetScreen
from tests.curation_daemon import CurationDaemon, client, in_loop, press, told
from tests.fake_daemon import SPEC
from tests.snapshots.screens import text_of


@in_loop
async def test_enter_saves_what_changed_and_stays() -> None:
    found = client()
    app = NegtuiApp(found.connect, start="dataset")  # type: ignore[arg-type]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.5)
        await press(pilot, "e")
        await pilot.pause(0.2)
        await press(pilot, "enter")
        assert isinstance(found.daemon, CurationDaemon)
        assert found.daemon.changed == []
        await press(pilot, *", ugly", "enter")
        assert found.daemon.changed == [{"synthesis.keywords": '["blurry", "cropped", "ugly"]'}]
        assert app.screen.has_class("-planning")
        assert found.daemon.submitted == []
        assert "Written" in told(app)


@in_loop
async def test_what_the_daemon_refuses_is_said_and_nothing_starts() -> None:
    found = client()
    app = NegtuiApp(found.connect, start="dataset")  # type: ignore[arg-type]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.5)
        await press(pilot, "e")
        await pilot.pause(0.2)
        found.refusals[ChangeSession] = NegError("invalid", "That cannot be.", "Try another.")
        await press(pilot, *", ugly", "ctrl+s")
        assert "That cannot be." in told(app)
        assert found.daemon.submitted == []
        assert app.screen.has_class("-planning")


@in_loop
async def test_a_session_without_a_synthesis_starts_none() -> None:
    found = client()
    found.daemon.spec = type(SPEC)(model=SPEC.model)
    app = NegtuiApp(found.connect, start="dataset")  # type: ignore[arg-type]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.5)
        assert isinstance(app.screen, DatasetScreen)
        await press(pilot, "r", "y")
        await pilot.pause(0.2)
        assert "has no [synthesis]" in told(app)
        await press(pilot, "e")
        await pilot.pause(0.2)
        assert "1024 x 1024" in text_of(app)
