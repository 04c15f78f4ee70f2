"""One daemon per place: an `flock` held for life. Without it a second bind of an ipc path steals it silently."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from daemon.protocol.errors import NegError


class Lock:
    """Holds `path` until `release`, or the end of the process however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = _acquire(path)

    def ensure_held(self) -> None:
        """Take the lock again if its file vanished; raises `NegError` `busy` if another daemon did so first."""
        held = os.fstat(self._descriptor)
        with contextlib.suppress(FileNotFoundError):
            found = self._path.stat()
            if (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino):
                return
        descriptor = _acquire(self._path)
        os.close(self._descriptor)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go. The file stays: removing it would let two daemons lock two files of one name."""
        os.close(self._descriptor)


def _acquire(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise NegError(
            "busy", f"A daemon already runs here (process {owner or 'unknown'}, {path.parent}).", "Use it, or stop it: negtui daemon stop."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
