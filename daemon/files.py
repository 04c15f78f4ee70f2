"""Files that exist whole or not at all, names that stay inside their folder, and a disk that is full said in words."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from daemon.protocol.errors import NegError

TEMPORARY_PREFIX = ".tmp-"


def write_atomic(path: Path, content: bytes, *, durable: bool = True) -> str:
    """Write `content` to `path` so that a crash at any moment leaves the old file or the new one. Returns its sha256.

    Room is reserved before a byte is written. Raises `NegError` `disk_full`. Not `durable`: for what can be made again at
    once (thumbnails); it saves two fsyncs, and a power loss may leave the file empty.
    """

    def fill(temporary: Path) -> None:
        with temporary.open("xb") as file:
            if content:
                os.posix_fallocate(file.fileno(), 0, len(content))
            file.write(content)

    write_atomic_with(path, fill, durable=durable)
    return hashlib.sha256(content).hexdigest()


def write_atomic_with(path: Path, fill: Callable[[Path], None], *, durable: bool = True) -> None:
    """As `write_atomic`, for libraries that write a file themselves: `fill` gets a temporary path in the same folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix}"
    try:
        with disk_full_in_words(path):
            fill(temporary)
            if durable:
                sync_file(temporary)
            os.replace(temporary, path)
            if durable:
                sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_directory(final: Path) -> Iterator[Path]:
    """A directory to fill, which becomes `final`, durably, when the block ends; where the block raises, nothing of it stays.

    Raises `NegError` `disk_full`, and `FileExistsError` where another directory is at `final` by then.
    """
    temporary = final.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        with disk_full_in_words(final):
            temporary.mkdir(parents=True)
            yield temporary
            _commit_directory(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync_file(path: Path) -> None:
    """fsync a file by name."""
    _fsync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """fsync a directory, so that a rename in it outlives a power loss."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def sweep_temporary(folder: Path) -> int:
    """Remove what interrupted writes left below `folder`; returns how many."""
    removed = 0
    for path in list(folder.rglob(f"{TEMPORARY_PREFIX}*")):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        removed += 1
    return removed


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(root: Path, relative: str) -> Path:
    """`root / relative`, refused unless it stays under `root` with links resolved; raises `NegError` `invalid`."""
    if "\0" in relative:
        raise NegError("invalid", "A path holds a NUL character.")
    resolved = (root / relative).resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise NegError("invalid", f"{relative!r} leads out of its folder.")
    return resolved


def require_space(folder: Path, num_bytes: int) -> None:
    """Raise `NegError` `disk_full` unless `folder`'s disk has room for `num_bytes`."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise NegError(
            "disk_full",
            f"{folder} has {free / 2**20:.0f} MiB free, {num_bytes / 2**20:.0f} MiB are needed.",
            "Free some room; the job goes on by itself.",
            retryable=True,
        )


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that the disk (or quota) is full, whoever raised it: OS, SQLite, safetensors or torch."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error).lower()
    return any(sign in text for sign in ("no space left on device", "database or disk is full", "disk quota exceeded", "unexpected pos"))


@contextlib.contextmanager
def disk_full_in_words(path: Path) -> Iterator[None]:
    """Turn every library's way of saying "disk full" into one `NegError`."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise NegError(
                "disk_full", f"No room left on the disk of {path}.", "Free some room; the job goes on by itself.", retryable=True
            ) from error
        raise


def _commit_directory(temporary: Path, final: Path) -> None:
    for path in temporary.rglob("*"):
        if path.is_file():
            sync_file(path)
        elif path.is_dir():
            sync_directory(path)
    sync_directory(temporary)
    try:
        temporary.rename(final)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final)) from None
        raise
    sync_directory(final.parent)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
