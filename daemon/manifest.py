"""`manifest.jsonl`: an `ImageRecord` a line, appended as pictures are finished and as people mark them. Torch-free.

The last whole line of an id (and arm) counts. A picture's mark is changed by appending its record again. Each writer holds the
file's lock while it reads on and appends, so that a job and several people who write at once lose nothing of each other's; the
lock is the kernel's and ends with its process. A torn last line costs that line only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from daemon import files
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRecord

MANIFEST_FILE = "manifest.jsonl"
"""Its name in every folder of pictures."""
Key = tuple[str, str | None]
"""An image's id and its arm: the same picture may stand in two arms."""

MAX_DEAD_LINES = 10_000
"""A manifest with so many lines more than twice its pictures is written anew when the next mark is made."""
TAIL_BYTES = 64
"""So much of what was read last must still stand there, or all is read again."""

_decoder = msgspec.json.Decoder(ImageRecord)


def read_manifest(path: Path) -> list[ImageRecord]:
    """The records of a manifest, each once, in the order they first came; a missing file is empty, an unreadable line is skipped."""
    try:
        return list(_records_of(path.read_bytes()).values())
    except FileNotFoundError:
        return []


def write_manifest(path: Path, records: Sequence[ImageRecord]) -> str:
    """Write a manifest whole; returns its sha256."""
    return files.write_atomic(path, b"".join(msgspec.json.encode(record) + b"\n" for record in records))


def append_line(path: Path, line: bytes, *, durable: bool = True) -> None:
    """Append `line` and a newline in one write, first ending a line that a crash tore off. Raises `NegError` `disk_full`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.disk_full_in_words(path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _append(descriptor, line, durable=durable)
        finally:
            os.close(descriptor)


class Manifest:
    """A folder's manifest as this process knows it. Every change first reads what others have appended. One thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records: dict[Key, ImageRecord] = {}
        self._file: tuple[int, int] | None = None
        self._offset = 0
        self._tail = b""
        self._num_lines = 0
        self.refresh()

    def find(self, id: str, arm: str | None = None) -> ImageRecord | None:
        """The record of an image, as last read."""
        return self._records.get((id, arm))

    def records(self) -> list[ImageRecord]:
        """All records, oldest first, as last read."""
        return list(self._records.values())

    def refresh(self) -> None:
        """Read what was appended since, or all where the file was replaced. Raises `NegError` `invalid` where it is no plain file."""
        try:
            descriptor = _open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            self._forget(None)
            return
        try:
            self._read_on(descriptor)
        finally:
            os.close(descriptor)

    def keep(self, record: ImageRecord) -> ImageRecord:
        """Append a record unless it stands there already; returns it with the mark the picture has. The same picture keeps its mark."""
        with self._locked() as descriptor:
            known = self._records.get((record.id, record.arm))
            if known is not None:
                record = msgspec.structs.replace(record, status=known.status, tags=known.tags)
                if known == record:
                    return known
            self._add(descriptor, [record])
        return record

    def change(self, changes: Mapping[Key, Callable[[ImageRecord], ImageRecord]]) -> list[tuple[ImageRecord, ImageRecord]]:
        """Change records that are there, in one write; (before, now) of each, in order. Durable when this returns.

        Raises `NegError` `not_found` where one is not there, before anything is written, and `disk_full`.
        """
        with self._locked() as descriptor:
            missing = [id for id, arm in changes if (id, arm) not in self._records]
            if missing:
                others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                raise NegError("not_found", f"There is no picture {missing[0]}{others} in {self.path.parent.name}/.", "List them again.")
            changed = [(self._records[key], change(self._records[key])) for key, change in changes.items()]
            self._add(descriptor, [now for before, now in changed if now != before])
            if self._num_lines > 2 * len(self._records) + MAX_DEAD_LINES:
                # The marks are made already, and there may be no room for a second copy.
                with contextlib.suppress(NegError):
                    write_manifest(self.path, self.records())
        return changed

    def _add(self, descriptor: int, records: Sequence[ImageRecord]) -> None:
        if not records:
            return
        size = os.fstat(descriptor).st_size
        try:
            with files.disk_full_in_words(self.path):
                _append(descriptor, b"\n".join(msgspec.json.encode(record) for record in records))
        except NegError:
            os.ftruncate(descriptor, size)
            raise
        self._read_on(descriptor)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, open for appending, read to its end, and nobody else's until the block ends."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with files.disk_full_in_words(self.path):
            descriptor = self._open_locked()
        try:
            self._read_on(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_locked(self) -> int:
        while True:
            descriptor = _open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # While this one waited, the file may have been written anew.
                if os.path.samestat(os.fstat(descriptor), self.path.lstat()):
                    return descriptor
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _read_on(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        identity = (found.st_dev, found.st_ino)
        # An editor may write a file anew in its place.
        if identity != self._file or self._tail != os.pread(descriptor, len(self._tail), self._offset - len(self._tail)):
            self._forget(identity)
        content = b""
        while piece := os.pread(descriptor, 2**24, self._offset + len(content)):
            content += piece
        self._records.update(_records_of(content))
        # An unfinished last line counts if it can be read, and is read again: its end may be still to come.
        self._num_lines += content.count(b"\n")
        whole = content.rfind(b"\n") + 1
        self._offset += whole
        self._tail = (self._tail + content[max(0, whole - TAIL_BYTES) : whole])[-TAIL_BYTES:]

    def _forget(self, file: tuple[int, int] | None) -> None:
        self._records, self._file, self._offset, self._tail, self._num_lines = {}, file, 0, b"", 0


def _records_of(content: bytes) -> dict[Key, ImageRecord]:
    records: dict[Key, ImageRecord] = {}
    for line in content.split(b"\n"):
        try:
            record = _decoder.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        records[record.id, record.arm] = record
    return records


def _open(path: Path, flags: int) -> int:
    """A descriptor of a regular file, no link; raises `FileNotFoundError`, `NegError` `invalid`, or `OSError`."""
    try:
        # A FIFO would hang an open without O_NONBLOCK.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        raise
    except OSError as error:
        if files.is_disk_full(error):
            raise
        raise _not_plain(path, error.strerror or "") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_plain(path, "it is something else")
    return descriptor


def _not_plain(path: Path, why: str) -> NegError:
    return NegError("invalid", f"{path} cannot be used as a plain file: {why}.", "It tells which pictures are kept and rejected.")


def _append(descriptor: int, content: bytes, *, durable: bool = True) -> None:
    """Append `content` and a newline in one write, behind a newline where the last line has none."""
    size = os.fstat(descriptor).st_size
    torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    content = (b"\n" if torn else b"") + content + b"\n"
    if os.write(descriptor, content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if durable:
        os.fsync(descriptor)
