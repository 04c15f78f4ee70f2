"""Pictures for tests and benches: as busy as photos are, the same every time."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image


def photo(size: int = 1024, *, roughness: float, seed: int = 0) -> Image.Image:
    """Coloured noise with an amplitude spectrum of 1 / f**roughness: 2 is smooth, 1 is as rough as foliage."""
    rng = np.random.default_rng(seed)
    fx, fy = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))
    falloff = 1 / np.maximum(np.hypot(fx, fy), 1 / size) ** roughness
    grey = _field(rng, falloff)
    planes = [0.85 * grey + 0.35 * _field(rng, falloff) for _ in range(3)]
    stacked = np.stack(planes, axis=-1)
    scaled = 128 + 55 * stacked / stacked.std()
    return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8), "RGB")


@lru_cache
def busy(size: int = 1024) -> Image.Image:
    return photo(size, roughness=BUSY)


@lru_cache
def typical(size: int = 1024) -> Image.Image:
    return photo(size, roughness=TYPICAL, seed=1)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def webp(image: Image.Image, pixels: int) -> bytes:
    small = image.copy()
    small.thumbnail((pixels, pixels))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=90)
    return buffer.getvalue()


def _field(rng: np.random.Generator, falloff: np.ndarray) -> np.ndarray:
    plane = np.fft.ifft2(np.fft.fft2(rng.standard_normal(falloff.shape)) * falloff).real
    return plane / plane.std()


BUSY = 1.35
TYPICAL = 1.79
