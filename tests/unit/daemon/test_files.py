import errno
import hashlib
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import files
from daemon.protocol.errors import NegError


def test_write_atomic_gives_the_hash_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.bin"
    assert files.write_atomic(path, b"one") == hashlib.sha256(b"one").hexdigest()
    files.write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.bin"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    files.write_atomic(path, b"old")

    def fill(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        files.write_atomic_with(path, fill)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        sqlite3.OperationalError("database or disk is full"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
        ValueError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_every_way_of_saying_disk_full_is_one_error(tmp_path: Path, error: Exception) -> None:
    def fill(temporary: Path) -> None:
        raise error

    with pytest.raises(NegError) as raised:
        files.write_atomic_with(tmp_path / "a", fill)
    assert raised.value.detail.code == "disk_full"
    assert raised.value.detail.retryable


def test_other_errors_are_not_called_disk_full() -> None:
    assert not files.is_disk_full(OSError(errno.EACCES, "Permission denied"))


def test_a_directory_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "step-1"
    with files.whole_directory(final) as filling:
        (filling / "sub").mkdir()
        (filling / "sub" / "state.json").write_text("{}")
        assert not final.exists()
    assert (final / "sub" / "state.json").is_file()


def test_of_a_directory_that_is_not_finished_nothing_stays(tmp_path: Path) -> None:
    def fill_half() -> None:
        with files.whole_directory(tmp_path / "step-1") as filling:
            (filling / "half").touch()
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fill_half()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_full_by_then_stays_as_it_is(tmp_path: Path) -> None:
    final = tmp_path / "mine"

    def fill_both() -> None:
        with files.whole_directory(final) as filling:
            (filling / "a").touch()
            final.mkdir()
            (final / "b").touch()

    with pytest.raises(FileExistsError, match="mine"):
        fill_both()
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["mine", "mine/b"]


def test_a_full_disk_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(NegError) as raised, files.whole_directory(tmp_path / "mine"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.detail.code == "disk_full"
    assert list(tmp_path.iterdir()) == []


def test_what_interrupted_writes_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "step-1").mkdir()
    (tmp_path / "step-1" / "state.json").touch()
    (tmp_path / ".tmp-left").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".tmp-file.png").write_text("half")
    assert files.sweep_temporary(tmp_path) == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["state.json", "step-1", "sub"]


@given(st.text(max_size=40))
def test_inside_never_leads_out(tmp_path_factory: pytest.TempPathFactory, relative: str) -> None:
    root = tmp_path_factory.getbasetemp() / "root"
    root.mkdir(exist_ok=True)
    try:
        found = files.inside(root, relative)
    except (NegError, OSError):
        return
    assert found.is_relative_to(root.resolve())


@pytest.mark.parametrize("relative", ["../root-secret/key", "/etc/passwd", "link/x", "a/../../b", "a\0b"])
def test_inside_refuses_siblings_links_and_absolute_paths(tmp_path: Path, relative: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "root-secret").mkdir()
    (root / "link").symlink_to(tmp_path / "root-secret")
    with pytest.raises(NegError):
        files.inside(root, relative)


def test_require_space_says_how_much_is_missing(tmp_path: Path) -> None:
    files.require_space(tmp_path, 1)
    with pytest.raises(NegError, match="MiB are needed"):
        files.require_space(tmp_path, 2**60)
