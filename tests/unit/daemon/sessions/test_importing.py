"""An archive is taken whole or not at all, and nothing in it reaches beyond its own new folder."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import files
from daemon.protocol.archive import ARCHIVE_MANIFEST, ArchivedFile, ArchiveManifest
from daemon.protocol.errors import NegError
from daemon.sessions import importing, removing
from daemon.sessions.importing import take
from daemon.sessions.reading import session_names

CONTENTS = {
    "session.toml": b'[model]\nbase = "toy"\n',
    "dataset/a.png": os.urandom(2_000_000),
    "adapters/wrong/pytorch_lora_weights.safetensors": os.urandom(3000),
    "comparisons/default/report.html": b"<p>hello</p>" * 100,
    "comparisons/images/.thumbnails/64/a.webp": b"",
    "dataset/\N{LATIN SMALL LETTER U WITH DIAERESIS}.png": b"x",
}


def manifest(contents: dict[str, bytes], **changes: Any) -> bytes:
    files = tuple(ArchivedFile(path=path, size=len(one), sha256=hashlib.sha256(one).hexdigest()) for path, one in contents.items())
    made = ArchiveManifest(archive_version=1, session="mine", files=files)
    return msgspec.json.encode(msgspec.to_builtins(made) | changes)


def archive(
    folder: Path, contents: dict[str, bytes] = CONTENTS, told: bytes | None = None, extra: Callable[..., None] | None = None
) -> Path:
    """A zip as `negtui export` writes it, or as somebody else might. `extra` adds to it before the manifest."""
    path = folder / "mine.negtui.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in contents.items():
            made.writestr(f"mine/{name}", content)
        if extra is not None:
            extra(made)
        made.writestr(ARCHIVE_MANIFEST, manifest(contents) if told is None else told)
    return path


def refused(sessions_path: Path, path: Path, **named: Any) -> NegError:
    """Why it is not taken; nothing of it is left anywhere."""
    sessions_path.mkdir(exist_ok=True)
    before = sorted(sessions_path.parent.rglob("*"))
    with pytest.raises(NegError) as caught:
        take(sessions_path, path, **named)
    assert sorted(sessions_path.parent.rglob("*")) == before
    return caught.value


def test_every_file_is_there_again(sessions_path: Path, tmp_path: Path) -> None:
    answer = take(sessions_path, archive(tmp_path))
    assert answer.name == "mine"
    assert answer.spec.model.base == "toy"
    folder = Path(answer.path)
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == CONTENTS
    assert [path.name for path in sessions_path.iterdir()] == ["mine"]
    assert stat.S_IMODE((folder / "session.toml").stat().st_mode) & 0o111 == 0


def test_a_name_that_is_taken_is_not_replaced_and_another_can_be_given(sessions_path: Path, tmp_path: Path) -> None:
    path = archive(tmp_path)
    take(sessions_path, path)
    assert refused(sessions_path, path).detail.code == "conflict"
    (sessions_path / "dangling").symlink_to("nowhere")
    assert refused(sessions_path, path, new_name="dangling").detail.code == "conflict"
    assert refused(sessions_path, path, new_name="../out").detail.code == "invalid"
    assert take(sessions_path, path, "second").name == "second"
    assert session_names(sessions_path) == ["mine", "second"]


@pytest.mark.parametrize(
    "evil",
    [
        "../out",
        "a/../../out",
        "/etc/out",
        "a//b",
        "./a",
        "a/.",
        "a\\b",
        "a\nb",
        "a\x1b[31mb",
        ".tmp-x",
        "dataset/.tmp-x",
        "a/" * 17 + "b",
        "x" * 300,
    ],
)
def test_a_path_that_is_not_plain_is_refused(sessions_path: Path, tmp_path: Path, evil: str) -> None:
    assert refused(sessions_path, archive(tmp_path, {**CONTENTS, evil: b"evil"})).detail.code == "invalid"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR])
def test_links_devices_and_folders_are_refused(sessions_path: Path, tmp_path: Path, kind: int) -> None:
    def add(made: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo("mine/link")
        entry.external_attr = (kind | 0o777) << 16
        made.writestr(entry, b"/etc/passwd")

    error = refused(sessions_path, archive(tmp_path, extra=add))
    assert "no regular file" in str(error)


def test_bombs_are_refused_before_they_are_unpacked(sessions_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "times its size" in str(refused(sessions_path, archive(tmp_path, {**CONTENTS, "zeros.bin": bytes(5_000_000)})))
    monkeypatch.setattr(importing, "MAX_ARCHIVE_FILES", 10)
    many = {**CONTENTS, **{f"dataset/{number}.png": b"" for number in range(11)}}
    assert refused(sessions_path, archive(tmp_path, many, told=manifest(CONTENTS))).detail.code == "too_large"


def test_a_list_of_files_that_would_fill_the_memory_is_not_read(sessions_path: Path, tmp_path: Path) -> None:
    path = archive(tmp_path)
    content = bytearray(path.read_bytes())
    content[-10:-6] = struct.pack("<L", 2**30)
    path.write_bytes(content)
    assert refused(sessions_path, path).detail.code == "too_large"
    # The same told by the record for large archives.
    record = b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 1, 1, 2**40, 0)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, len(content) - 22, 1)
    path.write_bytes(bytes(content[:-22]) + record + locator + bytes(content[-22:]))
    assert refused(sessions_path, path).detail.code == "too_large"


def test_more_bytes_than_told_are_never_written(sessions_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_PIECE_BYTES", 10)
    path = archive(tmp_path, told=manifest({**CONTENTS, "dataset/a.png": b"short"}))
    assert refused(sessions_path, path).detail.code == "corrupt"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (manifest({**CONTENTS, "dataset/a.png": CONTENTS["dataset/a.png"][::-1]}), "corrupt"),
        (manifest({**CONTENTS, "dataset/more.png": b"x"}), "corrupt"),
        (manifest({path: content for path, content in CONTENTS.items() if path != "session.toml"}), "corrupt"),
        (manifest(CONTENTS, session="yours"), "corrupt"),
        (manifest(CONTENTS, archive_version=2), "incompatible"),
        (b"[" * 100_000, "corrupt"),
        (b"\xff", "corrupt"),
        (b"{}", "corrupt"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(sessions_path: Path, tmp_path: Path, told: bytes, code: str) -> None:
    assert refused(sessions_path, archive(tmp_path, told=told)).detail.code == code


def test_a_file_that_is_told_twice_or_is_a_folder_too_is_refused(sessions_path: Path, tmp_path: Path) -> None:
    assert "both a file and a folder" in str(refused(sessions_path, archive(tmp_path, {**CONTENTS, "dataset": b"x"})))

    def again(made: zipfile.ZipFile) -> None:
        with pytest.warns(UserWarning, match="Duplicate name"):
            made.writestr("mine/session.toml", b"evil")

    assert "stands in it twice" in str(refused(sessions_path, archive(tmp_path, extra=again)))


def test_what_the_manifest_does_not_name_stays_in_the_archive(sessions_path: Path, tmp_path: Path) -> None:
    path = archive(tmp_path, extra=lambda made: made.writestr("mine/dataset/stowaway.png", b"x"))
    assert not (Path(take(sessions_path, path).path) / "dataset/stowaway.png").exists()


def test_what_is_no_archive_is_said(sessions_path: Path, tmp_path: Path) -> None:
    assert refused(sessions_path, tmp_path / "nowhere.zip").detail.code == "not_found"
    (tmp_path / "text.zip").write_text("hello")
    assert "no zip file" in str(refused(sessions_path, tmp_path / "text.zip"))
    os.mkfifo(tmp_path / "fifo.zip")
    assert "is not a regular file" in str(refused(sessions_path, tmp_path / "fifo.zip"))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("a", b"b")
    assert ARCHIVE_MANIFEST in str(refused(sessions_path, tmp_path / "other.zip"))
    assert refused(sessions_path, archive(tmp_path, {**CONTENTS, "session.toml": b"[model]\n"})).detail.code == "invalid"


def test_a_place_before_the_beginning_of_the_file_is_damage(sessions_path: Path, tmp_path: Path) -> None:
    path = archive(tmp_path, {"session.toml": CONTENTS["session.toml"], "dataset/a.png": b"a picture" * 20})
    content = bytearray(path.read_bytes())
    # The list of files seems to begin 512 bytes further on than it does, so that the files seem to lie that far before their places.
    place = content.rindex(b"PK\x05\x06") + 16
    (start,) = struct.unpack_from("<L", content, place)
    struct.pack_into("<L", content, place, start + 512)
    path.write_bytes(content)
    assert "a place outside itself" in str(refused(sessions_path, path))
    assert session_names(sessions_path) == []


@given(data=st.data())
def test_a_damaged_archive_is_refused_or_what_was_packed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    small = {"session.toml": CONTENTS["session.toml"], "dataset/a.png": b"a picture" * 20}
    content = bytearray(archive(folder, small).read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "damaged.zip").write_bytes(content)
    try:
        answer = take(folder / "sessions", folder / "damaged.zip")
    except NegError:
        assert session_names(folder / "sessions") == []
    else:
        found = Path(answer.path)
        assert {str(path.relative_to(found)): path.read_bytes() for path in found.rglob("*") if path.is_file()} == small


@pytest.mark.parametrize("killed_at", range(len(CONTENTS) + 1))
def test_killed_anywhere_nothing_of_it_is_seen_or_stays(sessions_path: Path, tmp_path: Path, killed_at: int) -> None:
    path = archive(tmp_path)
    sessions_path.mkdir()
    child = os.fork()
    if child == 0:
        count = 0
        write, commit = importing._write, files._commit_directory

        def write_some(*arguments: Any) -> None:
            nonlocal count
            if count == killed_at:
                os._exit(9)
            count += 1
            write(*arguments)

        def die(*arguments: Any) -> None:
            os._exit(9)

        importing._write = write_some
        files._commit_directory = die if killed_at == len(CONTENTS) else commit
        take(sessions_path, path)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert session_names(sessions_path) == []
    for left in removing.leftovers(sessions_path):
        removing.remove(left)
    assert list(sessions_path.iterdir()) == []
    assert take(sessions_path, path).name == "mine"
