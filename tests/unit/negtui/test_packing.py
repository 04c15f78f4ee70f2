"""A session packed, and taken again on another host."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

import pytest

from daemon.protocol.archive import ARCHIVE_MANIFEST
from daemon.protocol.commands import AnyCommand, AnyResult, ListFiles
from daemon.protocol.errors import NegError
from daemon.sessions import list_files, take
from negtui.packing import Packed, pack


class Host:
    """A daemon's folder of sessions, asked as over the wire."""

    def __init__(self, sessions_path: Path) -> None:
        self.sessions_path = sessions_path
        self.lost: set[str] = set()
        for path, content in {
            "session.toml": b'[model]\nbase = "toy"\n',
            "dataset/a.png": b"a" * 1000,
            "dataset/manifest.jsonl": b"{}\n" * 1000,
            "cache/x.bin": b"x",
            "checkpoints/wrong/step-1/state.safetensors": b"c",
            "dataset/.tmp-1": b"half",
        }.items():
            (sessions_path / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
            (sessions_path / "mine" / path).write_bytes(content)

    async def ask(self, command: AnyCommand) -> AnyResult:
        assert isinstance(command, ListFiles)
        return list_files(self.sessions_path, command)

    async def fetch(self, session: str, path: str) -> bytes:
        if path in self.lost:
            raise NegError("not_found", f"There is no {path}.")
        return (self.sessions_path / session / path).read_bytes()

    def pack(self, path: Path, *also: str) -> Packed:
        return asyncio.run(pack(self.ask, self.fetch, "mine", path, also, lambda text: None))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "here")


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist()) - {ARCHIVE_MANIFEST}


def test_it_is_taken_again_as_it_was(host: Host, tmp_path: Path) -> None:
    (host.sessions_path / "mine/dataset/link.png").symlink_to("a.png")
    packed = host.pack(tmp_path / "mine.zip")
    assert (packed.num_files, packed.num_links, packed.num_gone) == (3, 1, 0)
    assert names(packed.path) == {"mine/session.toml", "mine/dataset/a.png", "mine/dataset/manifest.jsonl"}
    folder = Path(take(tmp_path / "there", packed.path).path)
    for path in ("session.toml", "dataset/a.png", "dataset/manifest.jsonl"):
        assert (folder / path).read_bytes() == (host.sessions_path / "mine" / path).read_bytes()


def test_the_same_session_is_the_same_bytes(host: Host, tmp_path: Path) -> None:
    one, two = host.pack(tmp_path / "one.zip"), host.pack(tmp_path / "two.zip")
    assert one.path.read_bytes() == two.path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "one.zip", "two.zip"]


def test_checkpoints_and_caches_only_when_asked(host: Host, tmp_path: Path) -> None:
    assert "mine/cache/x.bin" in names(host.pack(tmp_path / "a.zip", "cache").path)
    all_of_it = names(host.pack(tmp_path / "b.zip", "cache", "checkpoints").path)
    assert all_of_it >= {"mine/cache/x.bin", "mine/checkpoints/wrong/step-1/state.safetensors"}
    assert not any(".tmp-" in name for name in all_of_it)


def test_what_a_job_takes_away_meanwhile_is_left_out_and_counted(host: Host, tmp_path: Path) -> None:
    host.lost = {"dataset/a.png"}
    packed = host.pack(tmp_path / "mine.zip")
    assert packed.num_gone == 1
    assert take(tmp_path / "there", packed.path).name == "mine"
    host.lost = {"session.toml"}
    with pytest.raises(NegError):
        host.pack(tmp_path / "again.zip")
    assert not (tmp_path / "again.zip").exists()
    assert list(tmp_path.glob(".*")) == []


def test_a_file_that_is_there_is_not_replaced(host: Host, tmp_path: Path) -> None:
    (tmp_path / "mine.zip").write_bytes(b"precious")
    with pytest.raises(NegError) as refused:
        host.pack(tmp_path / "mine.zip")
    assert refused.value.detail.code == "conflict"
    assert (tmp_path / "mine.zip").read_bytes() == b"precious"
    for folder in ("nowhere", "mine.zip"):
        with pytest.raises(NegError) as refused:
            host.pack(tmp_path / folder / "mine.zip")
        assert refused.value.detail.code == "invalid"


def test_too_many_files_are_said_before_anything_is_fetched(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negtui.packing.MAX_ARCHIVE_FILES", 2)
    with pytest.raises(NegError) as refused:
        host.pack(tmp_path / "mine.zip")
    assert refused.value.detail.code == "too_large"


def test_the_list_comes_in_pages(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.protocol.codec.MAX_REPLY_BYTES", 60)
    assert host.pack(tmp_path / "mine.zip").num_files == 3
