"""The pictures of a session and what people decide on them: listed in pages, marked durably. For any thread."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from daemon.manifest import MANIFEST_FILE, Key, Manifest
from daemon.protocol import codec
from daemon.protocol.commands import Images, ListImages, Marked, MarkImages, RestoreMarks
from daemon.protocol.errors import NegError
from daemon.protocol.events import ImagesFolder, Mark
from daemon.protocol.fields import MAX_TAGS
from daemon.protocol.specs import ImageRecord
from daemon.sessions.reading import require_session

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")
MAX_UNLISTED = 1000
MAX_OPEN = 4
"""Manifests kept in memory: of 10,000 pictures each takes about 20 MB."""

Change = Callable[[ImageRecord], ImageRecord]


class Curation:
    """The manifests below `sessions_path`, the last few kept in memory and read on from where they were."""

    def __init__(self, sessions_path: Path) -> None:
        self._sessions_path = sessions_path
        self._manifests: OrderedDict[Path, Manifest] = OrderedDict()
        self._lock = threading.Lock()

    def list(self, command: ListImages) -> Images:
        """A page of the pictures whose files are there. Raises `NegError` `not_found` (session, or the picture `after`)."""
        with self._manifest(command.session, command.folder) as manifest:
            manifest.refresh()
            records = [record for record in manifest.records() if record.arm is None]
        begin = _behind(records, command.after)
        names = _picture_names(self._sessions_path / command.session / command.folder)
        there = [(index, record) for index, record in enumerate(records) if _name_in(record, command.folder) in names]
        rest = [record for index, record in there if index >= begin]
        page = codec.fitting(rest[: command.limit])
        is_last = len(page) == len(rest)
        unlisted = names - {record.path.rpartition("/")[2] for _, record in there} if is_last else set()
        paths = tuple(f"{command.folder}/{name}" for name in sorted(unlisted)[:MAX_UNLISTED])
        return Images(images=page, total=len(there), is_last=is_last, unlisted=paths)

    def mark(self, command: MarkImages) -> Marked:
        """Change marks; durable when this returns. Raises `NegError` `not_found`, `invalid` (more tags than a picture may have)."""
        added, removed = set(command.add_tags), set(command.remove_tags)

        def change(record: ImageRecord) -> ImageRecord:
            tags = tuple(sorted({*record.tags, *added} - removed))
            if len(tags) > MAX_TAGS:
                raise NegError("invalid", f"A picture may have {MAX_TAGS} tags, {record.id} would have {len(tags)}.", "Take some away.")
            return msgspec.structs.replace(record, status=command.status or record.status, tags=tags)

        return self._change(command.session, command.folder, dict.fromkeys(command.ids, change))

    def restore(self, command: RestoreMarks) -> Marked:
        """Set marks as they are given; durable when this returns. Raises `NegError` `not_found`."""

        def change_to(status: str, tags: Sequence[str]) -> Change:
            return lambda record: msgspec.structs.replace(record, status=status, tags=tuple(sorted(set(tags))))

        changes = {mark.id: change_to(mark.status, mark.tags) for mark in command.marks}
        return self._change(command.session, command.folder, changes)

    def records(self, session: str, folder: ImagesFolder) -> Sequence[ImageRecord]:
        """All records of pictures whose files are there."""
        with self._manifest(session, folder) as manifest:
            manifest.refresh()
            records = manifest.records()
        names = _picture_names(self._sessions_path / session / folder)
        return [record for record in records if _name_in(record, folder) in names]

    def _change(self, session: str, folder: ImagesFolder, changes: dict[str, Change]) -> Marked:
        keyed: dict[Key, Change] = {(id, None): change for id, change in changes.items()}
        with self._manifest(session, folder) as manifest:
            if not manifest.path.is_file():
                raise NegError("not_found", f"{session} has no pictures in {folder}/ yet.", "Paint some: negtui synthesise.")
            changed = manifest.change(keyed)
        return Marked(before=tuple(_mark(before) for before, _ in changed), marks=tuple(_mark(now) for _, now in changed))

    @contextmanager
    def _manifest(self, session: str, folder: ImagesFolder) -> Iterator[Manifest]:
        path = require_session(self._sessions_path, session) / folder / MANIFEST_FILE
        with self._lock:
            manifest = self._manifests.pop(path, None)
            if manifest is None:
                manifest = Manifest(path)
            self._manifests[path] = manifest
            while len(self._manifests) > MAX_OPEN:
                self._manifests.popitem(last=False)
            yield manifest


def _mark(record: ImageRecord) -> Mark:
    return Mark(id=record.id, status=record.status, tags=record.tags)


def _behind(records: Sequence[ImageRecord], after: str) -> int:
    """The index behind the record `after`; removed pictures have their place too, so that no page is lost with them."""
    if not after:
        return 0
    for index, record in enumerate(records):
        if record.id == after:
            return index + 1
    raise NegError("not_found", f"There is no picture {after!r} to go on behind.", "List from the first page.")


def _picture_names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise NegError("invalid", f"{folder} cannot be read: {error.strerror}.", "Look at its owner and permissions.") from None


def _name_in(record: ImageRecord, folder: ImagesFolder) -> str:
    """The file's name, or nothing where the record tells of another folder."""
    parent, _, name = record.path.rpartition("/")
    return name if parent == folder else ""
