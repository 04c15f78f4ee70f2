"""Pieces of session files for the blob socket: names checked, no links followed, regular files only, hashes remembered."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections import OrderedDict
from pathlib import Path

from daemon.front.peers import Peer
from daemon.front.router import Reply
from daemon.protocol.commands import Blob, GetBlob
from daemon.protocol.errors import NegError

MAX_REMEMBERED = 4096

Identity = tuple[int, int, int, int]


class Blobs:
    """Reads below `sessions_path`; hashes are remembered by device, inode, size and time."""

    def __init__(self, sessions_path: Path) -> None:
        self._sessions_path = sessions_path
        self._hashes: OrderedDict[Identity, str] = OrderedDict()

    async def get(self, command: GetBlob, peer: Peer) -> Reply:
        """The handler of `GetBlob`: a piece of at most 256 KiB, empty behind the end; raises `NegError` `not_found` or `invalid`."""
        return await asyncio.to_thread(self._get, command)

    def _get(self, command: GetBlob) -> Reply:
        descriptor = open_below(self._sessions_path / command.session, command.path)
        try:
            found = os.fstat(descriptor)
            sha256 = self._hash(descriptor, found)
            piece = os.pread(descriptor, command.length, command.offset)
        finally:
            os.close(descriptor)
        return Reply(Blob(sha256=sha256, size=found.st_size, offset=command.offset), (piece,))

    def _hash(self, descriptor: int, found: os.stat_result) -> str:
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        known = self._hashes.get(identity)
        if known is None:
            with os.fdopen(os.dup(descriptor), "rb") as file:
                known = hashlib.file_digest(file, "sha256").hexdigest()
            self._hashes[identity] = known
            while len(self._hashes) > MAX_REMEMBERED:
                self._hashes.popitem(last=False)
        return known


def open_below(root: Path, relative: str) -> int:
    """A descriptor of the regular file `root / relative`, opened component by component without following a link.

    Raises `NegError` `not_found`, or `invalid` for a path that leads out, a link, a directory or a device.
    """
    names = relative.split("/")
    if "\0" in relative or any(name in ("", ".", "..") for name in names):
        raise NegError("invalid", f"{relative!r} is not a plain relative path.")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    held: list[int] = []
    try:
        # A session's own folder may be a link that the user made, to another disk.
        held.append(os.open(root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY))
        for name in names[:-1]:
            held.append(os.open(name, flags | os.O_DIRECTORY, dir_fd=held[-1]))
        # A FIFO would hang an open without O_NONBLOCK.
        descriptor = os.open(names[-1], flags | os.O_NONBLOCK, dir_fd=held[-1])
    except FileNotFoundError:
        raise NegError("not_found", f"There is no {relative} in session {root.name}.") from None
    except OSError as error:
        raise NegError("invalid", f"{relative} cannot be read as a plain file: {error.strerror}.") from None
    finally:
        for directory in held:
            os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NegError("invalid", f"{relative} is not a regular file.")
    return descriptor
