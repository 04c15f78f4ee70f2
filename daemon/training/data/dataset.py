"""The images a session trains on: which files, in which order, and their pixels as SDXL wants them.

Free of torch. Files are foreign: only regular ones are opened, size and pixels are bounded before decoding, a bad one is refused by name.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from PIL import Image, ImageOps

from daemon.files import write_atomic
from daemon.manifest import read_manifest
from daemon.protocol.errors import NegError

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")
FORMATS = ("JPEG", "PNG", "WEBP")
OTHER_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".jxl", ".tif", ".tiff")
MAX_PIXELS = 32_000_000
MAX_BYTES = 64 * 2**20
MAX_FILES = 50_000
MAX_ASPECT = 16
"""Longer side : shorter side. A 1 x 32,000,000 image would grow to 2**45 pixels when its shorter side is resized."""

Size = tuple[int, int]
"""(height, width) in pixels."""


class RefusedImage(Exception):
    """A file of the dataset that is not trained on; the text says why, without its name."""


@dataclass(frozen=True)
class TrainingImage:
    path: Path
    sha256: str
    original_size: Size
    """Upright, that is after the EXIF rotation."""


@dataclass(frozen=True)
class Dataset:
    """The usable images, sorted by content, so that names and dates of files change nothing."""

    images: tuple[TrainingImage, ...]
    refused: tuple[str, ...] = ()
    """A sentence per file left out because it cannot be used; rejected pictures are not among them."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256("\n".join(image.sha256 for image in self.images).encode()).hexdigest()


class _Known(msgspec.Struct, frozen=True):
    """What decoding a good file once told: its upright size."""

    height: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=1)]


def read_dataset(session_path: Path, check: Callable[[], None] = lambda: None) -> Dataset:
    """The images of `session_path/dataset`: all of it but rejected ones, those without a manifest line included.

    What decoding told is kept by content in `cache/images.json`, which may be deleted. `check` is called per file and may raise.
    Raises `NegError` `not_found` where nothing usable is left.
    """
    folder, known_path = session_path / "dataset", session_path / "cache" / "images.json"
    known = _read_known(known_path)
    num_known = len(known)
    rejected = _rejected_names(folder / "manifest.jsonl")
    images, refused = [], []
    for path in _candidates(folder):
        check()
        if path.name in rejected:
            continue
        try:
            images.append(_examine(path, known))
        except RefusedImage as error:
            refused.append(f"{path.name} is left out: {error}.")
    if len(known) > num_known:
        write_atomic(known_path, msgspec.json.encode(known), durable=False)
    if not images:
        raise _nothing_usable(folder, len(rejected), refused)
    return Dataset(tuple(sorted(images, key=lambda image: (image.sha256, image.path.name))), tuple(refused))


def read_image(image: TrainingImage) -> Image.Image:
    """The upright RGB picture of a dataset entry; raises `NegError` `conflict` if the file is not what it was when the job began."""
    try:
        content = _read_regular(image.path)
        if hashlib.sha256(content).hexdigest() == image.sha256:
            return decode(content)
    except (OSError, RefusedImage):
        pass
    raise NegError("conflict", f"{image.path.name} changed while it was trained on.", "Start the training again.", retryable=True)


def decode(content: bytes) -> Image.Image:
    """A file's bytes -> upright RGB: transparent pixels become white, 16-bit grey 8-bit. Raises `RefusedImage`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _require_shape(image.width, image.height)
                image.load()
                upright = ImageOps.exif_transpose(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise RefusedImage(_too_large()) from None
    except (RefusedImage, MemoryError):
        raise
    except Exception as error:
        # Broken files make Pillow raise OSError, SyntaxError, ValueError, struct.error, ...
        raise RefusedImage(f"it cannot be decoded ({error})") from error
    return _to_rgb(upright)


def fit(image: Image.Image, resolution: int) -> tuple[Image.Image, Size]:
    """Resize the shorter side to `resolution` and crop the centre, as torchvision's Resize and CenterCrop do.

    Returns the `resolution` x `resolution` picture and the crop's (top, left), both as `train_dreambooth_lora_sdxl.py` has them.
    """
    shorter, longer = sorted(image.size)
    long_side = int(resolution * longer / shorter)
    size = (resolution, long_side) if image.width <= image.height else (long_side, resolution)
    resized = image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
    top, left = round((resized.height - resolution) / 2), round((resized.width - resolution) / 2)
    return resized.crop((left, top, left + resolution, top + resolution)), (top, left)


def crop_top_left(original_size: Size, resolution: int) -> Size:
    """The (top, left) that `fit` gives an image of this (height, width), without its pixels."""
    long_side = int(resolution * max(original_size) / min(original_size))
    offset = round((long_side - resolution) / 2)
    return (offset, 0) if original_size[0] > original_size[1] else (0, offset)


def time_ids(image: TrainingImage, resolution: int) -> tuple[int, ...]:
    """SDXL's micro-conditioning (Podell et al., 2023): original size, crop, target size; (height, width) and (top, left)."""
    return (*image.original_size, *crop_top_left(image.original_size, resolution), resolution, resolution)


def _candidates(folder: Path) -> Iterator[Path]:
    """Files of the folder that mean to be images, by name; not those of its subfolders."""
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    found = [name for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES + OTHER_SUFFIXES)]
    if len(found) > MAX_FILES:
        raise NegError("too_large", f"{folder} holds {len(found):,} images, {MAX_FILES:,} are allowed.", "Move some away.")
    return (folder / name for name in found)


def _examine(path: Path, known: dict[str, _Known]) -> TrainingImage:
    if path.name.lower().endswith(OTHER_SUFFIXES):
        raise RefusedImage("it is not PNG, JPEG or WebP")
    content = _read_regular(path)
    sha256 = hashlib.sha256(content).hexdigest()
    size = known.get(sha256)
    if size is None:
        image = decode(content)
        size = known[sha256] = _Known(height=image.height, width=image.width)
    return TrainingImage(path, sha256, (size.height, size.width))


def _read_regular(path: Path) -> bytes:
    """A regular file's bytes: links are not followed, and a FIFO or device is not waited for."""
    try:
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            raise RefusedImage("it is a symbolic link")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC) if stat.S_ISREG(kind) else -1
    except OSError as error:
        raise RefusedImage(f"it cannot be opened ({error.strerror})") from None
    if descriptor < 0:
        raise RefusedImage("it is not a regular file")
    with open(descriptor, "rb") as file:  # noqa: PTH123
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise RefusedImage("it is not a regular file")
        if found.st_size > MAX_BYTES:
            raise RefusedImage(f"it has {found.st_size / 2**20:.0f} MiB, {MAX_BYTES // 2**20} are allowed")
        return file.read(MAX_BYTES)


def _require_shape(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise RefusedImage(_too_large())
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise RefusedImage(f"at {width} x {height} it is too long and thin")


def _too_large() -> str:
    return f"it has more than {MAX_PIXELS // 1_000_000} million pixels"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        grey: np.ndarray[Any, Any] = np.asarray(image).astype(np.uint32) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _rejected_names(manifest_path: Path) -> set[str]:
    return {Path(record.path).name for record in read_manifest(manifest_path) if record.status == "reject"}


def _read_known(path: Path) -> dict[str, _Known]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, _Known])
    except (OSError, msgspec.MsgspecError, ValueError):
        return {}


def _nothing_usable(folder: Path, num_rejected: int, refused: list[str]) -> NegError:
    reasons = [f"{num_rejected} rejected" if num_rejected else "", f"{len(refused)} unusable: {refused[0]}" if refused else ""]
    detail = " (" + "; ".join(filter(None, reasons)) + ")" if any(reasons) else ""
    hint = "Run act 1 (synthesise) first, or put PNG, JPEG or WebP files there."
    return NegError("not_found", f"{folder} has no images to train on{detail}.", hint)
