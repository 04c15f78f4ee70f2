import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.commands import AnyResult, Blob, Command, Failed, GetBlob
from daemon.protocol.errors import ErrorDetail, NegError
from negtui.fetching import MAX_FETCHES, PIECE_BYTES, fetch


class Daemon:
    """Serves one file; `versions` replace each other, one more at each piece that is not the first of a try."""

    def __init__(self, *versions: bytes, busy: int = 0, damage: bool = False) -> None:
        self.versions, self.busy, self.damage = list(versions), busy, damage
        self.num_asked = 0

    async def ask(self, command: Command, seconds: float) -> tuple[AnyResult, list[bytes]]:
        assert isinstance(command, GetBlob)
        self.num_asked += 1
        await asyncio.sleep(0)
        if self.busy:
            self.busy -= 1
            return Failed(error=ErrorDetail(code="busy", message="later")), []
        if command.offset and len(self.versions) > 1:
            self.versions.pop(0)
        content = self.versions[0]
        piece = content[command.offset : command.offset + command.length]
        told = hashlib.sha256(content).hexdigest()
        return Blob(sha256=told, size=len(content), offset=command.offset), [piece[::-1] if self.damage else piece]


def fetched(daemon: Daemon) -> bytes:
    return asyncio.run(fetch(daemon.ask, "s", "p", 1.0))


@given(st.integers(0, 12), st.integers(-2, 2))
def test_a_file_of_any_size_comes_whole_in_as_few_pieces_as_there_are(num_pieces: int, more: int) -> None:
    size = max(0, num_pieces * PIECE_BYTES + more)
    content = (b"negtui!" * (size // 7 + 1))[:size]
    daemon = Daemon(content)
    assert fetched(daemon) == content
    assert daemon.num_asked == max(1, -(-size // PIECE_BYTES))


def test_one_that_is_replaced_midway_is_read_again() -> None:
    old, new = b"o" * (2 * PIECE_BYTES), b"n" * (2 * PIECE_BYTES)
    assert fetched(Daemon(old, new)) == new


def test_one_that_keeps_changing_is_a_conflict_in_words() -> None:
    versions = [bytes([number]) * (2 * PIECE_BYTES) for number in range(MAX_FETCHES + 1)]
    with pytest.raises(NegError, match="p of s changes while it is read") as caught:
        fetched(Daemon(*versions))
    assert caught.value.detail.code == "conflict"


def test_a_busy_daemon_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negtui.fetching.BUSY_SECONDS", 0.0)
    daemon = Daemon(b"content", busy=3)
    assert fetched(daemon) == b"content"
    assert daemon.num_asked == 4


def test_damage_on_the_way_is_told() -> None:
    with pytest.raises(NegError, match="came damaged") as caught:
        fetched(Daemon(b"some content", damage=True))
    assert caught.value.detail.code == "corrupt"
    assert caught.value.detail.retryable
