from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot

from daemon.protocol.commands import AnyCommand, AnyResult, SessionAnswer, SessionRow, Welcome, WriteSession
from daemon.protocol.errors import NegError
from negtui.app import NegtuiApp
from negtui.screens.sessions import SessionsScreen
from tests.curation_daemon import CurationDaemon, client, in_loop, press, told
from tests.fake_client import FakeClient
from tests.fake_daemon import SPEC

TEXT = b'[model]\nbase = "toy"\n'
ROWS = (SessionRow(name="toy"),)


class EditedDaemon(CurationDaemon):
    """Takes a text, or refuses it; its files lie in `sessions_path`."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions_path = "/w/sessions"
        self.fault: NegError | None = None

    @property
    def welcome(self) -> Welcome:
        return Welcome(protocol=1, version="0", store_id="s", boot_id="b", head_seq=0, min_seq=1, sessions_path=self.sessions_path, pid=7)

    async def request(self, command: AnyCommand) -> AnyResult:
        if not isinstance(command, WriteSession):
            return await super().request(command)
        self.asked.append(command)
        if self.fault is not None:
            raise self.fault
        return SessionAnswer(name=command.name, path=f"/w/sessions/{command.name}", spec=SPEC)


class Editor:
    """Writes `text` into what it is given, and notes what that was."""

    def __init__(self, text: bytes = b"", status: int = 0) -> None:
        self.text, self.status = text, status
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> int:
        self.commands.append(list(command))
        if self.text:
            self.path.write_bytes(self.text)
        return self.status

    @property
    def path(self) -> Path:
        """What it was opened on."""
        return Path(self.commands[-1][1])


@pytest.fixture(autouse=True)
def lendable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A terminal that can be lent; what was done to it."""
    done: list[str] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(HeadlessDriver, "can_suspend", property(lambda self: True))
    monkeypatch.setattr(HeadlessDriver, "suspend_application_mode", lambda self: done.append("lent"))
    monkeypatch.setattr(HeadlessDriver, "resume_application_mode", lambda self: done.append("back"))
    monkeypatch.setenv("VISUAL", "ed")
    return done


def app(found: FakeClient, **options: object) -> NegtuiApp:
    return NegtuiApp(found.connect, start="sessions", **options)  # type: ignore[arg-type]


def edited() -> FakeClient:
    found = client(EditedDaemon(), sessions=ROWS)
    found.files["toy", "session.toml"] = TEXT
    return found


async def press_e(pilot: Pilot[None], editor: Editor, *more: str) -> str:
    """What the toasts say after it."""
    await pilot.pause(0.3)
    screen = pilot.app.screen
    assert isinstance(screen, SessionsScreen)
    screen.run_editor = editor
    screen.table.go_to("toy")
    await press(pilot, "e", *more)
    await pilot.pause(0.2)
    return told(pilot.app)


def written(found: FakeClient) -> list[str]:
    return [command.text for command in found.daemon.asked if isinstance(command, WriteSession)]


@in_loop
async def test_the_daemons_text_is_edited_as_a_copy_and_sent_back() -> None:
    found, editor = edited(), Editor(TEXT + b"# mine\n")
    async with app(found, endpoint="ssh://there").run_test(size=(120, 30)) as pilot:
        said = await press_e(pilot, editor)
        assert written(found) == ['[model]\nbase = "toy"\n# mine\n']
        assert "toy: its session.toml is written" in said
        assert "toy is in order" in said
        assert not editor.path.parent.exists()


@in_loop
async def test_a_text_that_is_refused_is_kept_and_e_goes_on_with_it() -> None:
    found, editor = edited(), Editor(b"rank = 0\n")
    assert isinstance(found.daemon, EditedDaemon)
    found.daemon.fault = NegError("invalid", "sessions/toy/session.toml, line 1: no such setting.")
    async with app(found, endpoint="ssh://there").run_test(size=(120, 30)) as pilot:
        said = await press_e(pilot, editor)
        kept = editor.path
        assert "line 1: no such setting" in said
        assert f"Your text is kept: {kept}" in said
        found.daemon.fault, editor.text = None, b"rank = 1\n"
        await press_e(pilot, editor, "y")
        assert editor.path == kept
        assert written(found) == ["rank = 0\n", "rank = 1\n"]
        assert not kept.parent.exists()


@in_loop
async def test_n_begins_anew_and_the_kept_text_stays_where_it_is() -> None:
    found, editor = edited(), Editor(b"rank = 0\n")
    assert isinstance(found.daemon, EditedDaemon)
    found.daemon.fault = NegError("invalid", "line 1: no such setting.")
    async with app(found, endpoint="ssh://there").run_test(size=(120, 30)) as pilot:
        await press_e(pilot, editor)
        kept = editor.path
        editor.text = b""
        await press_e(pilot, editor, "n")
        assert editor.path != kept
        assert kept.read_bytes() == b"rank = 0\n"
        assert f"Yours stays in {kept}" in told(pilot.app)
        assert "nothing is changed" in told(pilot.app)


@in_loop
async def test_an_editor_that_fails_sends_nothing() -> None:
    found, editor = edited(), Editor(b"half\n", status=1)
    async with app(found, endpoint="ssh://there").run_test(size=(120, 30)) as pilot:
        said = await press_e(pilot, editor)
        assert written(found) == []
        assert f"status 1: nothing is sent. Your text is kept: {editor.path}" in said


@in_loop
async def test_a_file_that_lies_here_is_edited_itself_and_only_where_the_daemon_is_here(tmp_path: Path) -> None:
    for endpoint, is_itself in (("", True), ("ssh://there", False)):
        found, editor = edited(), Editor()
        assert isinstance(found.daemon, EditedDaemon)
        found.daemon.sessions_path = str(tmp_path)
        path = tmp_path / "toy/session.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(TEXT)
        async with app(found, endpoint=endpoint).run_test(size=(120, 30)) as pilot:
            said = await press_e(pilot, editor)
            assert (editor.path == path) is is_itself
            assert "toy is in order" in said
            assert path.exists()


@pytest.mark.parametrize(
    ("editor", "words"), [("nosuch-editor", "nosuch-editor cannot be started"), ("'unclosed", "cannot be read"), ("  ", "")]
)
@in_loop
async def test_whatever_the_editor_the_terminal_comes_back(
    editor: str, words: str, lendable: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: Sequence[str]) -> int:
        if command[0] == "vi":
            return 0
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setenv("VISUAL", editor)
    found = edited()
    async with app(found, endpoint="ssh://there").run_test(size=(120, 30)) as pilot:
        said = await press_e(pilot, run)  # type: ignore[arg-type]
        assert words in said
        assert lendable.count("lent") == lendable.count("back")
        assert "kept" not in said


@in_loop
async def test_a_terminal_that_cannot_be_lent_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeadlessDriver, "can_suspend", property(lambda self: False))
    async with app(edited(), endpoint="ssh://there").run_test(size=(120, 30)) as pilot:
        assert "cannot be lent to an editor" in await press_e(pilot, Editor())


@in_loop
async def test_read_only_opens_no_editor() -> None:
    editor = Editor()
    async with app(edited(), endpoint="ssh://there", read_only=True).run_test(size=(120, 30)) as pilot:
        assert "Opened with --read-only" in await press_e(pilot, editor)
        assert editor.commands == []


@in_loop
async def test_e_pressed_again_before_the_editor_comes_opens_one() -> None:
    found, editor = edited(), Editor(TEXT + b"# mine\n")
    may_come, fetch = asyncio.Event(), found.fetch

    async def slowly(session: str, path: str) -> bytes:
        await may_come.wait()
        return await fetch(session, path)

    found.fetch = slowly  # type: ignore[method-assign]
    async with app(found, endpoint="ssh://there").run_test(size=(120, 30)) as pilot:
        assert "on its way" in await press_e(pilot, editor, "e")
        may_come.set()
        await pilot.pause(0.3)
        assert len(editor.commands) == 1
