"""A packed session taken from a file that nobody vouches for: checked whole before it can be seen, else nothing stays.

Only regular files that the archive's own manifest names are written, each up to its told size, below a fresh folder; hashes must agree.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from daemon.files import TEMPORARY_PREFIX, require_space
from daemon.protocol.archive import ARCHIVE_MANIFEST, ARCHIVE_VERSION, MAX_ARCHIVE_FILES, ArchivedFile, ArchiveManifest
from daemon.protocol.commands import SessionAnswer
from daemon.protocol.errors import NegError
from daemon.sessions.checking import warnings
from daemon.sessions.making import drafted, require_free
from daemon.sessions.reading import MAX_SESSION_BYTES, SESSION_FILE, label, parse, require_name

MAX_DIRECTORY_BYTES = 16 * 2**20
"""Of the zip's list of files, which is read into memory; 20,000 long paths take less."""
MAX_MANIFEST_BYTES = 16 * 2**20
MAX_RATIO = 100
"""Text of pictures and figures packs to a tenth or so; a bomb to a thousandth."""
MAX_DEPTH = 16
_OTHER_NAME = "Take it under another name: negtui import FILE --name NAME"
_PIECE_BYTES = 2**20
_END, _LOCATOR, _END_64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_END_BYTES, _LOCATOR_BYTES, _END_64_BYTES, _MAX_COMMENT = 22, 20, 56, 65_535


def take(sessions_path: Path, archive_path: Path, new_name: str | None = None) -> SessionAnswer:
    """Make a session of a packed one, under `new_name` or its own name. Whole, or not at all.

    Raises `NegError`: `not_found`, `invalid` (no such archive, or one that reaches for other places), `corrupt` (not what its manifest
    says), `incompatible` (a newer one), `conflict` (the name is taken), `disk_full`.
    """
    with _open(archive_path) as file:
        _require_small_directory(file, archive_path)
        try:
            with zipfile.ZipFile(file) as archive:
                return _take(sessions_path, archive, archive_path, new_name)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
            raise _damaged(archive_path, str(error)) from None
        except OSError as error:
            # A place that lies before the file's beginning: zipfile seeks there all the same.
            if error.errno != errno.EINVAL:
                raise
            raise _damaged(archive_path, "it names a place outside itself") from None


def _take(sessions_path: Path, archive: zipfile.ZipFile, archive_path: Path, new_name: str | None) -> SessionAnswer:
    entries = _entries(archive, archive_path)
    manifest = _manifest(archive, entries, archive_path)
    name = manifest.session if new_name is None else new_name
    require_name(name)
    folder = sessions_path / name
    require_free(folder, _OTHER_NAME)
    named = _named_entries(entries, manifest, archive_path)
    with drafted(folder, _OTHER_NAME) as draft:
        require_space(sessions_path, sum(file.size for file in manifest.files))
        for file, entry in named:
            _write(archive, entry, file, draft / file.path, archive_path)
        spec = parse(_session_text(draft, archive_path), label(sessions_path, name))
    try:
        doubts = tuple(warnings(spec, folder))
    except NegError as error:
        # It was made elsewhere: its model may lie at another place here.
        doubts = (str(error),)
    return SessionAnswer(name=name, path=str(folder), spec=spec, warnings=doubts)


def _open(path: Path) -> BinaryIO:
    """The archive as a regular file; a FIFO would hang an open without O_NONBLOCK."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NegError("not_found", f"There is no file {path}.", "Name it from / on, as the daemon's host finds it.") from None
    except OSError as error:
        raise NegError("invalid", f"{path} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NegError("invalid", f"{path} is not a regular file.")
    return os.fdopen(descriptor, "rb")


def _require_small_directory(file: BinaryIO, path: Path) -> None:
    """Refuse a zip whose list of files would fill the memory, before it is read. PKWARE's APPNOTE, 4.3.14 to 4.3.16."""
    size = file.seek(0, os.SEEK_END)
    tail_start = max(0, size - _MAX_COMMENT - _END_BYTES - _LOCATOR_BYTES - _END_64_BYTES)
    file.seek(tail_start)
    tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < _END_BYTES:
        raise NegError("invalid", f"{path} is no packed session: it is no zip file.", "`negtui export NAME` makes one.")
    (length,) = struct.unpack_from("<L", tail, end + 12)
    locator = end - _LOCATOR_BYTES
    if locator >= _END_64_BYTES and tail[locator : locator + 4] == _LOCATOR:
        (length,) = struct.unpack_from("<Q", tail, locator - _END_64_BYTES + 40)
    if length > MAX_DIRECTORY_BYTES:
        raise NegError("too_large", f"{path} lists more files than {MAX_ARCHIVE_FILES}.", "That is no packed session.")
    file.seek(0)


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The archive's files by name; each once, regular, readable, and no bomb."""
    found: dict[str, zipfile.ZipInfo] = {}
    entries = archive.infolist()
    if len(entries) > MAX_ARCHIVE_FILES + 1:
        raise NegError("too_large", f"{path} holds {len(entries)} files, at most {MAX_ARCHIVE_FILES} are taken.")
    for entry in entries:
        name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
        if name in found:
            raise _damaged(path, f"{name!r} stands in it twice")
        if kind not in (0, stat.S_IFREG) or entry.is_dir():
            raise NegError("invalid", f"{path} holds {name!r}, which is no regular file.", "A packed session has no links and no devices.")
        if entry.flag_bits & 1:
            raise NegError("invalid", f"{path} is encrypted.", "Pack it without a password.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NegError("invalid", f"{path}: {name!r} is packed in a way that is not read here.", "Pack it with `negtui export`.")
        if entry.file_size > MAX_RATIO * max(entry.compress_size, 1024):
            raise NegError("invalid", f"{path}: {name!r} would unpack to {entry.file_size} bytes, more than {MAX_RATIO} times its size.")
        found[name] = entry
    return found


def _manifest(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], path: Path) -> ArchiveManifest:
    entry = entries.get(ARCHIVE_MANIFEST)
    if entry is None:
        raise NegError("invalid", f"{path} is no packed session: it has no {ARCHIVE_MANIFEST}.", "`negtui export NAME` makes one.")
    if entry.file_size > MAX_MANIFEST_BYTES:
        raise NegError("too_large", f"{path}: its {ARCHIVE_MANIFEST} is too large.")
    content = archive.read(entry)
    try:
        version = msgspec.json.decode(content, type=_Version).archive_version
        if version > ARCHIVE_VERSION:
            message = f"{path} was packed by a newer negtui (archive version {version}, here {ARCHIVE_VERSION})."
            raise NegError("incompatible", message, "Bring this negtui up to date.")
        return msgspec.json.decode(content, type=ArchiveManifest)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _damaged(path, f"{ARCHIVE_MANIFEST} cannot be read: {error}") from None


class _Version(msgspec.Struct):
    archive_version: int


def _named_entries(
    entries: dict[str, zipfile.ZipInfo], manifest: ArchiveManifest, path: Path
) -> list[tuple[ArchivedFile, zipfile.ZipInfo]]:
    """What is to be written: each file of the manifest with its entry. Everything is looked at before anything is written."""
    named = []
    for file in manifest.files:
        _require_plain(file.path, path)
        entry = entries.get(f"{manifest.session}/{file.path}")
        if entry is None or entry.file_size != file.size:
            raise _damaged(path, f"{file.path} is missing, or not as large as it should be")
        named.append((file, entry))
    _require_apart((file.path for file in manifest.files), path)
    if SESSION_FILE not in {file.path for file in manifest.files}:
        raise _damaged(path, f"it has no {SESSION_FILE}")
    return named


def _require_plain(relative: str, path: Path) -> None:
    """A path that stays in its folder, and that every file system and terminal takes."""
    names = relative.split("/")
    strange = "\\" in relative or any(unicodedata.category(character) in ("Cc", "Cs") for character in relative)
    bad = any(name in ("", ".", "..") or name.startswith(TEMPORARY_PREFIX) or len(name.encode("utf-8", "replace")) > 255 for name in names)
    if strange or bad or len(names) > MAX_DEPTH:
        raise NegError("invalid", f"{path} holds {relative!r}, which is no plain path in a session.", "Nothing was taken.")


def _require_apart(paths: Iterable[str], path: Path) -> None:
    """No file twice, and none where another needs a folder."""
    known: set[str] = set()
    folders: set[str] = set()
    for relative in paths:
        if relative in known:
            raise _damaged(path, f"{relative} is told twice")
        known.add(relative)
        folders.update("/".join(relative.split("/")[:depth]) for depth in range(1, relative.count("/") + 1))
    if known & folders:
        raise _damaged(path, f"{min(known & folders)} is both a file and a folder")


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: ArchivedFile, target: Path, path: Path) -> None:
    """Unpack one file, never more than its told size, and compare its hash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), file.size
    with archive.open(entry) as source, target.open("xb") as written:
        while piece := source.read(_PIECE_BYTES):
            left -= len(piece)
            if left < 0:
                break
            digest.update(piece)
            written.write(piece)
    if left != 0 or digest.hexdigest() != file.sha256:
        raise _damaged(path, f"{file.path} is not the file that was packed")


def _session_text(draft: Path, path: Path) -> str:
    if (draft / SESSION_FILE).stat().st_size > MAX_SESSION_BYTES:
        raise _damaged(path, f"its {SESSION_FILE} is too large")
    try:
        return (draft / SESSION_FILE).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _damaged(path, f"its {SESSION_FILE} is no text") from None


def _damaged(path: Path, why: str) -> NegError:
    return NegError("corrupt", f"{path} is damaged: {why}.", "Nothing was taken. Copy it again, or pack it again.")
