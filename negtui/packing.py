"""A session packed into one file, from wherever its daemon runs: every file fetched, hashed, and told in the manifest. No Textual.

The same files give the same bytes. Until it is whole it lies under another name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon.protocol.archive import ARCHIVE_MANIFEST, ARCHIVE_VERSION, MAX_ARCHIVE_FILES, ArchivedFile, ArchiveManifest
from daemon.protocol.commands import AnyCommand, FileRow, Files, ListFiles, Result
from daemon.protocol.errors import NegError

SUFFIX = ".negtui.zip"
PACKED_ALREADY = (".png", ".webp", ".jpg", ".jpeg", ".safetensors")
"""Stored as they are: packing them again takes time and saves nothing."""
_BEGINNING = (1980, 1, 1, 0, 0, 0)

Fetch = Callable[[str, str], Awaitable[bytes]]
Ask = Callable[[AnyCommand], Awaitable[Result]]


@dataclass(frozen=True)
class Packed:
    """What was written. `num_links`: links in the folder that stayed behind; `num_gone`: files that a job took away meanwhile."""

    path: Path
    num_files: int
    num_bytes: int
    num_links: int
    num_gone: int


async def listed(ask: Ask, session: str, also: Sequence[str]) -> tuple[list[FileRow], int]:
    """All files of a session, and how many links it has. Raises `NegError` `too_large` beyond what an archive may hold."""
    rows: list[FileRow] = []
    while True:
        page = await ask(ListFiles(name=session, also=tuple(also), after=rows[-1].path if rows else ""))  # type: ignore[arg-type]
        assert isinstance(page, Files)
        rows += page.files
        if page.is_last:
            break
    if len(rows) > MAX_ARCHIVE_FILES:
        message = f"{session} has {len(rows)} files, at most {MAX_ARCHIVE_FILES} are packed."
        raise NegError("too_large", message, "Copy its folder with rsync; a session is nothing but its folder.")
    return rows, page.num_links


async def pack(ask: Ask, fetch: Fetch, session: str, path: Path, also: Sequence[str] = (), note: Callable[[str], None] = print) -> Packed:
    """Write `session` to `path`, which must not exist. Raises `NegError`: `conflict`, `not_found`, or what fetching raises."""
    _require_free(path)
    rows, num_links = await listed(ask, session, also)
    note(f"{len(rows)} files, {sum(row.size for row in rows) / 2**20:.1f} MiB")
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            files = await _write(file.name, fetch, session, rows)
            os.fsync(file.fileno())
        _require_free(path)
        part.rename(path)
    except OSError as error:
        raise NegError("invalid", f"{path} cannot be written: {error.strerror}.") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return Packed(path, len(files), path.stat().st_size, num_links, len(rows) - len(files))


def _require_free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise NegError("conflict", f"{path} exists already.", "Name another file, or remove it.")


async def _write(part: str, fetch: Fetch, session: str, rows: Sequence[FileRow]) -> list[ArchivedFile]:
    files: list[ArchivedFile] = []
    with zipfile.ZipFile(part, "w") as archive:
        for row in rows:
            try:
                content = await fetch(session, row.path)
            except NegError as error:
                # A job that runs may take a checkpoint or a stale sheet away; what makes it a session must be there.
                if error.detail.code != "not_found" or row.path == "session.toml":
                    raise
                continue
            _add(archive, f"{session}/{row.path}", content)
            files.append(ArchivedFile(path=row.path, size=len(content), sha256=hashlib.sha256(content).hexdigest()))
        manifest = ArchiveManifest(archive_version=ARCHIVE_VERSION, session=session, files=tuple(files))
        _add(archive, ARCHIVE_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return files


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _BEGINNING)
    entry.external_attr = 0o100644 << 16
    entry.compress_type = zipfile.ZIP_STORED if name.lower().endswith(PACKED_ALREADY) else zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
