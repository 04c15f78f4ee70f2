"""A session packed for another host: a zip of its files below `NAME/`, and last `negtui-archive.json`, which says what they must be."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from daemon.protocol.fields import Name

ARCHIVE_MANIFEST = "negtui-archive.json"
ARCHIVE_VERSION = 1
"""Goes up when an older negtui could not take an archive rightly."""
MAX_ARCHIVE_FILES = 20_000


class ArchivedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file; `path` is relative to the session's folder, with `/`."""

    path: Annotated[str, Meta(min_length=1, max_length=1024)]
    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class ArchiveManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`negtui-archive.json`. What it does not name is not taken."""

    archive_version: Annotated[int, Meta(ge=1)]
    session: Name
    files: Annotated[tuple[ArchivedFile, ...], Meta(max_length=MAX_ARCHIVE_FILES)]
