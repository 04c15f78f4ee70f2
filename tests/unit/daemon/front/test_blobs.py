import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.front.blobs import Blobs, open_below
from daemon.front.peers import Peer
from daemon.front.router import Reply
from daemon.protocol.commands import Blob, GetBlob
from daemon.protocol.errors import NegError

PEER = Peer(id=b"a", heard=0.0, tokens=1.0)


def get(blobs: Blobs, path: str, offset: int = 0, length: int = 262_144) -> Reply:
    return asyncio.run(blobs.get(GetBlob(session="s", path=path, offset=offset, length=length), PEER))


def test_pieces_and_the_hash_of_the_whole(tmp_path: Path) -> None:
    (tmp_path / "s" / "dataset").mkdir(parents=True)
    (tmp_path / "s" / "dataset" / "x.png").write_bytes(b"0123456789")
    blobs = Blobs(tmp_path)
    sha256 = hashlib.sha256(b"0123456789").hexdigest()
    assert get(blobs, "dataset/x.png", 2, 3) == Reply(Blob(sha256=sha256, size=10, offset=2), (b"234",))
    assert get(blobs, "dataset/x.png", 8, 9).attachments == (b"89",)
    assert get(blobs, "dataset/x.png", 99).attachments == (b"",)


def test_a_changed_file_has_a_new_hash(tmp_path: Path) -> None:
    path = tmp_path / "s" / "x"
    path.parent.mkdir()
    path.write_bytes(b"old")
    blobs = Blobs(tmp_path)
    before = get(blobs, "x").result
    path.write_bytes(b"newer")
    assert get(blobs, "x").result != before


def test_a_session_may_lie_on_another_disk(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_bytes(b"x")
    (tmp_path / "s").symlink_to(tmp_path / "elsewhere")
    assert get(Blobs(tmp_path), "x").attachments == (b"x",)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session beside things that must not be read, by their contents `secret`."""
    root = tmp_path_factory.mktemp("sessions")
    for folder in ("s", "s/a", "s-sibling"):
        (root / folder).mkdir()
    for path in ("secret", "s-sibling/secret"):
        (root / path).write_text("secret")
    for path in ("s/x", "s/a/x"):
        (root / path).write_text("open")
    (root / "s" / "link").symlink_to("../secret")
    (root / "s" / "up").symlink_to("..")
    os.mkfifo(root / "s" / "fifo")
    return root


parts = st.sampled_from(
    ["..", ".", "", "s", "s-sibling", "secret", "a", "x", "link", "up", "fifo", "\0", "\u2024\u2024", "%2e%2e", "~", "\\..", "x" * 300]
)


@settings(max_examples=1000)
@given(st.lists(parts | st.text(max_size=5), min_size=1, max_size=6).map("/".join))
def test_no_path_leads_out_or_through_a_link(guarded: Path, path: str) -> None:
    codes = set()
    try:
        descriptor = open_below(guarded / "s", path)
    except NegError as error:
        codes.add(error.detail.code)
    else:
        assert os.read(descriptor, 99) == b"open"
        os.close(descriptor)
    assert codes <= {"invalid", "not_found"}


def test_refusals_leave_no_open_files(guarded: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path in ("fifo", "a", "link", "up/secret", "nothing", "a/nothing"):
        with pytest.raises(NegError):
            open_below(guarded / "s", path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
