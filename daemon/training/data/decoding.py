"""Foreign image files -> upright RGB pictures. Only regular files are opened; bytes and pixels are bounded before anything is decoded.

Knows nothing of folders, captions or trainings. Free of torch.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 50_000_000
MAX_BYTES = 64 * 2**20
MAX_ASPECT = 16
"""Longer side : shorter side. A 1 x 50,000,000 image would grow to 2**45 pixels when its shorter side is resized."""


class RefusedImage(Exception):
    """A file of the dataset that is not trained on; the text says why, without its name."""


def printable(path: Path) -> str:
    """A file's name as it may stand in a sentence, an event or a file: Unicode, without control characters."""
    name = path.name.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)


def read_regular(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """A regular file's bytes. Raises `RefusedImage`: links are not followed, and a FIFO or device is not waited for."""
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
        if found.st_size > max_bytes:
            raise RefusedImage(f"it has {found.st_size / 2**20:.0f} MiB, {max_bytes / 2**20:g} are allowed")
        try:
            return file.read(max_bytes)
        except OSError as error:
            raise RefusedImage(f"it cannot be read ({error.strerror})") from None


def decode(content: bytes) -> Image.Image:
    """A file's bytes -> upright RGB: transparent pixels become white, 16-bit grey 8-bit. Raises `RefusedImage`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _require_shape(image.width, image.height)
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise RefusedImage(_too_large()) from None
    except (RefusedImage, MemoryError):
        raise
    except Exception as error:
        # Broken files make Pillow raise OSError, SyntaxError, ValueError, struct.error, ...
        raise RefusedImage(f"it cannot be decoded ({_without_address(error)})") from error


def _require_shape(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise RefusedImage(_too_large())
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise RefusedImage(f"at {width} x {height} it is too long and thin")


def _too_large() -> str:
    return f"it has more than {MAX_PIXELS // 1_000_000} million pixels"


def _without_address(error: Exception) -> str:
    """Pillow names the buffer it could not identify, by its address."""
    return "it is no image, or of another format" if isinstance(error, UnidentifiedImageError) else str(error)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        grey: np.ndarray[Any, Any] = np.asarray(image).astype(np.uint32) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
