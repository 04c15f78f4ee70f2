from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.protocol.commands import MAX_SESSION_TEXT, AnyCommand, Ping, Pong, Result, WriteSession
from daemon.protocol.errors import NegError
from daemon.sessions.changing import write
from negtui.editing import Draft

TEXT = '[model]\nbase = "toy"  # the small one\n\n[training]\nrank = 4\n'


class Host:
    """The daemon's side: its files, and what it was asked."""

    def __init__(self, sessions_path: Path) -> None:
        self.path = sessions_path / "mine/session.toml"
        self.path.parent.mkdir(parents=True)
        self.path.write_text(TEXT)
        self.asked: list[AnyCommand] = []

    async def fetch(self, session: str, path: str) -> bytes:
        return (self.path.parents[1] / session / path).read_bytes()

    async def request(self, command: AnyCommand) -> Result:
        self.asked.append(command)
        if isinstance(command, Ping):
            return Pong(boot_id="b", head_seq=0)
        assert isinstance(command, WriteSession)
        return write(self.path.parents[1], command.name, command.text, command.sha256)

    async def begin(self) -> Draft:
        return await Draft.begin(self.fetch, "mine")

    async def send(self, draft: Draft) -> bool:
        return await draft.send(self.request, self.fetch)

    async def refusal(self, draft: Draft) -> NegError:
        with pytest.raises(NegError) as refused:
            await self.send(draft)
        return refused.value


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "here"))
    return Host(tmp_path / "sessions")


def test_a_text_goes_back_byte_for_byte_and_the_copy_away(host: Host) -> None:
    async def scene() -> None:
        host.path.write_bytes(TEXT.replace("\n", "\r\n").encode())
        draft = await host.begin()
        assert draft.path.parent.stat().st_mode & 0o077 == 0
        changed = draft.path.read_bytes().replace(b"rank = 4", "rank = 8  # größer".encode())
        draft.path.write_bytes(changed)
        assert await host.send(draft)
        assert host.path.read_bytes() == changed
        assert isinstance(host.asked[0], Ping)  # on a line that may be dead nothing is sent that must not be sent twice
        draft.remove()
        assert not draft.path.parent.exists()

    asyncio.run(scene())


def test_what_was_not_changed_is_not_sent(host: Host) -> None:
    async def scene() -> None:
        draft = await host.begin()
        assert not draft.is_worth_keeping
        assert not await host.send(draft)
        assert host.asked == []

    asyncio.run(scene())


def test_a_fault_is_said_with_its_line_and_the_text_can_be_put_right(host: Host) -> None:
    async def scene() -> None:
        draft = await host.begin()
        draft.path.write_text(TEXT.replace("rank = 4", "rank = 0"))
        assert "sessions/mine/session.toml, line 5: training.rank is 0" in str(await host.refusal(draft))
        num_asked = len(host.asked)
        assert "line 5" in str(await host.refusal(draft))
        assert len(host.asked) == num_asked  # the same text is not asked about again
        assert host.path.read_text() == TEXT
        assert "rank = 0" in draft.path.read_text()
        draft.path.write_text(TEXT.replace("rank = 4", "rank = 16"))
        assert await host.send(draft)
        assert "rank = 16" in host.path.read_text()

    asyncio.run(scene())


def test_of_two_texts_none_is_lost(host: Host) -> None:
    theirs = TEXT + "seed = 3\n"

    async def scene() -> None:
        draft = await host.begin()
        draft.path.write_text(TEXT.replace("rank = 4", "rank = 8"))
        host.path.write_text(theirs)
        error = await host.refusal(draft)
        assert error.detail.code == "conflict"
        assert str(draft.theirs_path) in str(error)
        assert draft.paths == (draft.path, draft.theirs_path)
        # Left as it is, it does not replace theirs.
        assert (await host.refusal(draft)).detail.code == "conflict"
        assert host.path.read_text() == theirs
        draft.path.write_text(theirs.replace("rank = 4", "rank = 8"))
        assert await host.send(draft)
        assert host.path.read_text() == theirs.replace("rank = 4", "rank = 8")
        draft.remove()
        assert draft.theirs_path.read_text() == theirs

    asyncio.run(scene())


def test_two_who_wrote_the_same_do_not_quarrel(host: Host) -> None:
    async def scene() -> None:
        draft = await host.begin()
        for path in (draft.path, host.path):
            path.write_text(TEXT.replace("rank = 4", "rank = 8"))
        assert not await host.send(draft)
        assert len(draft.paths) == 1

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[model]\nbase = \xff", "line 2: this is not UTF-8 text"),
        (b"#" * (MAX_SESSION_TEXT + 1), f"at most {MAX_SESSION_TEXT} can be sent"),
    ],
)
def test_what_could_not_be_sent_is_said_before_it_is_edited_and_before_it_is_sent(host: Host, content: bytes, words: str) -> None:
    async def scene() -> None:
        draft = await host.begin()
        draft.path.write_bytes(content)
        assert words in str(await host.refusal(draft))
        assert not any(isinstance(command, WriteSession) for command in host.asked)
        host.path.write_bytes(content)
        with pytest.raises(NegError, match=words):
            await host.begin()

    asyncio.run(scene())


def lost(draft: Draft, host: Host) -> None:
    draft.path.unlink()


def removed(draft: Draft, host: Host) -> None:
    host.path.unlink()
    draft.path.write_text(TEXT.replace("rank = 4", "rank = 8"))


@pytest.mark.parametrize("happens", [lost, removed])
def test_a_file_that_is_gone_is_said_so(host: Host, happens: Callable[[Draft, Host], None]) -> None:
    async def scene() -> None:
        draft = await host.begin()
        happens(draft, host)
        assert (await host.refusal(draft)).detail.code == "not_found"

    asyncio.run(scene())


def test_where_nothing_can_be_written_that_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent/folder")
    with pytest.raises(NegError, match="No copy can be written here"):
        asyncio.run(host.begin())
