from __future__ import annotations

import asyncio
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input, Static

from daemon.protocol.commands import (
    AnyCommand,
    AnyResult,
    ChangeSession,
    CreateSession,
    FileRow,
    Files,
    ImportSession,
    ListFiles,
    SessionAnswer,
)
from daemon.protocol.errors import NegError
from negtui.app import NegtuiApp
from tests.curation_daemon import client, in_loop, press, told
from tests.fake_client import FakeClient
from tests.fake_daemon import SPEC
from tests.snapshots.screens import text_of
from tests.unit.negtui.screens.test_sessions import ROWS, app, opened


async def line(pilot: Pilot[None], text: str) -> None:
    pilot.app.screen.query(Input).first().value = text
    await press(pilot, "enter")
    await pilot.pause(0.1)


@in_loop
async def test_any_setting_is_changed_from_a_line() -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("toy")
        await press(pilot, "s")
        assert "Settings of toy" in text_of(pilot.app)
        await line(pilot, 'training.rank=8  synthesis.keywords=["bad hands", "blurry"]')
        changes = {"training.rank": "8", "synthesis.keywords": '["bad hands", "blurry"]'}
        assert ChangeSession(name="toy", changes=changes) in found.daemon.asked
        assert not screen.form.is_open


@in_loop
async def test_a_line_that_says_no_setting_is_refused_beside_it_and_kept() -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("toy")
        await press(pilot, "s")
        await line(pilot, "rank 8")
        assert "is not section.field=value" in str(screen.form.query_one("#refusal", Static).render())
        assert screen.form.values == {"settings": "rank 8"}
        assert not [command for command in found.daemon.asked if isinstance(command, ChangeSession)]


@in_loop
async def test_what_the_daemon_refuses_is_said_in_the_form() -> None:
    found: FakeClient = client(sessions=ROWS)
    found.refusals[CreateSession] = NegError("invalid", "There is a session of that name.", "Choose another.")
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "n")
        for text in ("toy", "toy", "", "", "", ""):
            field = pilot.app.focused
            assert isinstance(field, Input)
            field.value = text
            await press(pilot, "enter")
        await pilot.pause(0.2)
        assert screen.form.is_open
        assert "There is a session of that name." in text_of(pilot.app)


@in_loop
async def test_a_session_is_packed_into_a_file_here_and_taken_from_one(tmp_path: Path) -> None:
    found: FakeClient = client(sessions=ROWS)
    request = found.daemon.request

    async def answer(command: AnyCommand) -> AnyResult:
        if isinstance(command, ListFiles):
            return Files(files=(FileRow(path="session.toml", size=2),), num_links=1, is_last=True)
        if isinstance(command, ImportSession):
            found.daemon.asked.append(command)
            return SessionAnswer(name="second", path="/w/sessions/second", spec=SPEC)
        return await request(command)

    async def fetch(session: str, path: str) -> bytes:
        return b"hi"

    found.daemon.request, found.fetch = answer, fetch  # type: ignore[method-assign]
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("toy")
        await press(pilot, "x")
        await line(pilot, str(tmp_path / "toy.zip"))
        assert (tmp_path / "toy.zip").is_file()
        assert not screen.form.is_open
        await press(pilot, "x")
        await line(pilot, str(tmp_path / "toy.zip"))
        assert "exists already" in str(screen.form.query_one("#refusal", Static).render())
        await press(pilot, "escape", "X")
        pilot.app.screen.query(Input).first().value = str(tmp_path / "toy.zip")
        await press(pilot, "enter", "enter")
        await pilot.pause(0.1)
        assert ImportSession(path=str(tmp_path / "toy.zip")) in found.daemon.asked


@in_loop
async def test_without_a_session_its_keys_say_so() -> None:
    found = client(sessions=())
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        for key in ("enter", "r", "R", "e", "s", "v", "c", "D", "m", "x", "y"):
            pilot.app.clear_notifications()
            await press(pilot, key)
            assert "There is no session yet: n makes one." in told(pilot.app), key
            assert not screen.form.is_open
    async with app(client(sessions=ROWS)).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "slash", *"zzz", "enter", "v")
        assert "No session has these words: esc shows all." in told(pilot.app)


class Held:
    """A daemon's answers to some commands, which wait until `may_answer` is set."""

    def __init__(self, found: FakeClient, *held: type[AnyCommand]) -> None:
        self.may_answer = asyncio.Event()
        self._request, self._held = found.daemon.request, held
        found.daemon.request = self.request  # type: ignore[method-assign]

    async def request(self, command: AnyCommand) -> AnyResult:
        answer = await self._request(command)
        if isinstance(command, self._held):
            await self.may_answer.wait()
        return answer


@in_loop
async def test_enter_pressed_twice_asks_once() -> None:
    found = client(sessions=ROWS)
    held = Held(found, CreateSession)
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "n", *"mine", *["enter"] * 7)
        assert "still under way" in text_of(pilot.app)
        held.may_answer.set()
        await pilot.pause(0.2)
        assert [type(command) for command in found.daemon.asked].count(CreateSession) == 1
        assert not screen.form.is_open
        await press(pilot, "s")
        await line(pilot, "training.rank=8")
        assert [type(command) for command in found.daemon.asked].count(ChangeSession) == 1


@in_loop
async def test_what_ends_late_leaves_the_form_alone_that_is_open_by_then() -> None:
    found = client(sessions=ROWS)
    held = Held(found, CreateSession)
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "n", *"mine", *["enter"] * 6, "escape", "s", *"training")
        held.may_answer.set()
        await pilot.pause(0.2)
        assert "Made /w/sessions/mine" in told(pilot.app)
        assert screen.form.is_open
        assert screen.form.values == {"settings": "training"}


@in_loop
async def test_read_only_opens_no_form_that_could_change_nothing() -> None:
    found = client(sessions=ROWS)
    shown = NegtuiApp(found.connect, start="sessions", read_only=True)
    async with shown.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        for key in ("n", "c", "D", "s", "m", "X"):
            pilot.app.clear_notifications()
            await press(pilot, key)
            assert "nothing is changed from here" in told(pilot.app), key
            assert not screen.form.is_open
        await press(pilot, "x")
        assert screen.form.is_open
