"""Numbers over a picture as a picture: from dark (0) to bright (the highest). Pure numpy and Pillow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from daemon.pictures import encode_png

Map = npt.NDArray[np.float64]

MIN_PIXELS = 256
"""Smaller maps are enlarged by a whole factor to about so many pixels a side, each number a square."""
_INFERNO = np.array(
    [(0, 0, 4), (40, 11, 84), (101, 21, 110), (159, 42, 99), (212, 72, 66), (245, 125, 21), (250, 193, 39), (252, 255, 164)], np.float64
)
"""matplotlib's inferno at eight places: brightness rises evenly, for all kinds of sight."""


def map_png(values_HW: Map, highest: float) -> bytes:
    """(H, W), 0 to `highest` -> a PNG."""
    places = np.clip(values_HW / highest if highest > 0 else np.zeros_like(values_HW), 0, 1) * (len(_INFERNO) - 1)
    stops = np.arange(len(_INFERNO))
    colours = np.stack([np.interp(places, stops, channel) for channel in _INFERNO.T], axis=-1)
    factor = max(1, MIN_PIXELS // max(values_HW.shape))
    image = Image.fromarray(np.round(colours).astype(np.uint8))
    return encode_png(image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST))


def difference_map(one: Image.Image, other: Image.Image) -> Map:
    """Two pictures of one size -> (H, W) in 0-255: mean over channels of the absolute difference."""
    left, right = (np.asarray(image.convert("RGB"), dtype=np.float64) for image in (one, other))
    found: Map = np.abs(left - right).mean(axis=2)
    return found
