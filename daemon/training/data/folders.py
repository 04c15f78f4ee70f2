"""The usable images of one folder: told from other files by name, from bad ones by decoding, from rejected ones by the manifest.

Free of torch. Files are foreign: a bad one is refused by name and the rest goes on. Knows nothing of trainings.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from daemon.files import write_atomic
from daemon.manifest import MANIFEST_FILE, read_manifest
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRecord
from daemon.training.data import decoding
from daemon.training.data.captions import Source, no_captions, read_captions
from daemon.training.data.decoding import RefusedImage, printable, read_regular
from daemon.training.data.views import Size

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")
OTHER_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".jxl", ".tif", ".tiff")
MAX_FILES = 50_000


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """A usable image. `sha256` is its file's; `caption` the one it is trained with."""

    path: Path
    sha256: str
    original_size: Size
    """Upright, that is after the EXIF rotation."""
    caption: str = ""


@dataclass(frozen=True)
class FolderImages:
    """What a folder holds, sorted by content, so that names and dates of files change nothing."""

    images: tuple[TrainingImage, ...]
    refused: tuple[str, ...]
    """A sentence per file left out because it cannot be used; rejected pictures are not among them."""
    num_rejected: int


class KnownSizes:
    """What decoding a good file once told, by content: its upright size. `save` keeps it in a file that may be deleted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes = _read_sizes(path)
        self._num_saved = len(self._sizes)

    def size(self, sha256: str, content: bytes) -> Size:
        """(height, width) of a file's picture; raises `RefusedImage` where it has none."""
        known = self._sizes.get(sha256)
        if known is None:
            image = decoding.decode(content)
            known = self._sizes[sha256] = _Known(height=image.height, width=image.width)
        return known.height, known.width

    def save(self) -> None:
        if len(self._sizes) > self._num_saved:
            write_atomic(self._path, msgspec.json.encode(self._sizes), durable=False)
            self._num_saved = len(self._sizes)


def read_folder(
    folder: Path,
    known: KnownSizes,
    *,
    captions: Source = "instance_prompt",
    prompt: str = "",
    wanted: Callable[[ImageRecord | None], bool] = lambda record: True,
    check: Callable[[], None] = lambda: None,
) -> FolderImages:
    """The images of `folder`, not those of folders in it: all but rejected ones and those whose manifest record is not `wanted`.

    An image without a caption takes `prompt`. `check` is called per file and may raise. Raises `NegError` where the folder, its
    manifest or its captions cannot be read, or none of the images has a caption of the kind asked for.
    """
    records = {Path(record.path).name: record for record in _records(folder)}
    found = read_captions(folder, captions, tuple(records.values()))
    images, refused, num_rejected = [], list(found.refused), 0
    for path in _candidates(folder):
        check()
        record = records.get(path.name)
        if record is not None and record.status == "reject":
            num_rejected += 1
        elif wanted(record):
            try:
                images.append(_examine(path, known, found.of(path) or prompt))
            except RefusedImage as error:
                refused.append(f"{printable(path)} is left out: {error}.")
    if images and captions != "instance_prompt" and not found.num_found:
        raise no_captions(folder, captions)
    return FolderImages(tuple(sorted(images, key=lambda image: (image.sha256, image.path.name))), tuple(refused), num_rejected)


def _candidates(folder: Path) -> Iterator[Path]:
    """Files of the folder that mean to be images, by name."""
    try:
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise NegError("invalid", f"{folder} cannot be read: {error.strerror}.", "Give its owner and permissions a look.") from None
    found = [name for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES + OTHER_SUFFIXES)]
    if len(found) > MAX_FILES:
        raise NegError("too_large", f"{folder} holds {len(found):,} images, {MAX_FILES:,} are allowed.", "Move some away.")
    return (folder / name for name in found)


def _examine(path: Path, known: KnownSizes, caption: str) -> TrainingImage:
    if path.name.lower().endswith(OTHER_SUFFIXES):
        raise RefusedImage("it is not PNG, JPEG or WebP")
    content = read_regular(path)
    sha256 = hashlib.sha256(content).hexdigest()
    return TrainingImage(path, sha256, known.size(sha256, content), caption)


def _records(folder: Path) -> list[ImageRecord]:
    path = folder / MANIFEST_FILE
    try:
        is_regular = stat.S_ISREG(path.lstat().st_mode)
        records = read_manifest(path) if is_regular else []
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise NegError("invalid", f"{path} cannot be read: {error.strerror}.", "It tells which pictures are rejected.") from None
    if not is_regular:
        raise NegError("invalid", f"{path} is not a regular file.", "It tells which pictures are rejected: put the file itself there.")
    return records


class _Known(msgspec.Struct, frozen=True):
    height: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=1)]


def _read_sizes(path: Path) -> dict[str, _Known]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, _Known])
    except (OSError, msgspec.MsgspecError, ValueError):
        return {}
