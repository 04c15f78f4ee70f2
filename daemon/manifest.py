"""`manifest.jsonl`: an `ImageRecord` a line, appended as pictures are finished. Torch-free.

The last whole line of an id (and arm) counts. So a picture's mark is changed by appending its record again, and neither a
torn last line nor a person and a job writing at once loses anything.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from daemon import files
from daemon.protocol.specs import ImageRecord

Key = tuple[str, str | None]
"""An image's id and its arm: the same picture may stand in two arms."""

_decoder = msgspec.json.Decoder(ImageRecord)


def read_manifest(path: Path) -> list[ImageRecord]:
    """The records of a manifest, each once, in the order they first came; a missing file is empty, an unreadable line is skipped."""
    return list(_read_records(path).values())


def write_manifest(path: Path, records: list[ImageRecord]) -> str:
    """Write a manifest whole; returns its sha256."""
    return files.write_atomic(path, b"".join(msgspec.json.encode(record) + b"\n" for record in records))


def append_line(path: Path, line: bytes, *, durable: bool = True) -> None:
    """Append `line` and a newline in one write, first ending a line that a crash tore off. Raises `NegError` `disk_full`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.disk_full_in_words(path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            content = (b"\n" if torn else b"") + line + b"\n"
            if os.write(descriptor, content) != len(content):
                raise OSError(28, "No space left on device")
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Manifest:
    """A folder's manifest while a recipe adds to it. Marks (`status`) that a person set are kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records = _read_records(path)

    def find(self, id: str, arm: str | None = None) -> ImageRecord | None:
        """The record of an image, as last written."""
        return self._records.get((id, arm))

    def records(self) -> list[ImageRecord]:
        """All records, oldest first."""
        return list(self._records.values())

    def keep(self, record: ImageRecord) -> ImageRecord:
        """Append a record unless it stands there already; returns it with the mark the picture has. The same file keeps its mark."""
        known = self._records.get((record.id, record.arm))
        if known is not None:
            record = msgspec.structs.replace(record, status=known.status)
            if known == record:
                return known
        append_line(self.path, msgspec.json.encode(record))
        self._records[record.id, record.arm] = record
        return record


def _read_records(path: Path) -> dict[Key, ImageRecord]:
    records: dict[Key, ImageRecord] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return records
    for line in lines:
        try:
            record = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        records[record.id, record.arm] = record
    return records
