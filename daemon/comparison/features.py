"""What a picture looks like in 192 numbers, for distances between pictures. No network: numpy and Pillow, the same on every machine.

Two halves of equal weight, both on a grid of 4 x 4 cells over the picture, scaled to at most 256 pixels a side:

- outlines: histograms of gradient orientation, 9 unsigned bins, weighted by the gradient's length, each cell's histogram of length 1
  (Dalal and Triggs, 2005, "Histograms of Oriented Gradients for Human Detection"; cells without gradients are zeros);
- colours: each cell's mean luma and opponent colours (red-green, yellow-blue) in -1..1 (as MPEG-7's colour layout, without its DCT).

A distance is sqrt((d_outlines + d_colours) / 2), where each d is the mean squared distance over cells, scaled so that 1 is the largest
possible one. It is no LPIPS: it sees layout, outlines and colours, not what is shown.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from daemon.measuring.metrics import Floats, luma

VERSION = "layout-1"
GRID = 4
NUM_BINS = 9
MAX_PIXELS = 256
_ROWS = 1024
_LARGEST_OUTLINE, _LARGEST_COLOUR = 2.0, 12.0
"""Largest squared distances of two cells: unit vectors without negative parts; three numbers in -1..1."""


def features(image: Image.Image) -> Floats:
    """An RGB picture -> (192,), scaled so that the Euclidean distance of two pictures is that of the module's words, in 0..1."""
    small = image.convert("RGB")
    small.thumbnail((MAX_PIXELS, MAX_PIXELS), Image.Resampling.BOX)
    rgb_CHW = np.asarray(small, dtype=np.float64).transpose(2, 0, 1) / 255
    num_cells = GRID * GRID
    outlines = _outlines(luma(rgb_CHW)) / np.sqrt(2 * num_cells * _LARGEST_OUTLINE)
    colours = _colours(rgb_CHW) / np.sqrt(2 * num_cells * _LARGEST_COLOUR)
    return np.concatenate([outlines.ravel(), colours.ravel()])


def distance_sums(features_NF: Floats) -> Floats:
    """(N, F) -> (N,): the sum of each picture's Euclidean distances to all the others, some rows at a time."""
    squares_N = (features_NF**2).sum(axis=1)
    sums = []
    for begin in range(0, len(features_NF), _ROWS):
        rows = slice(begin, begin + _ROWS)
        found = squares_N[rows, None] + squares_N[None, :] - 2 * features_NF[rows] @ features_NF.T
        # A picture's distance to itself is not quite 0 in floats.
        found[np.arange(len(found)), begin + np.arange(len(found))] = 0.0
        sums.append(np.sqrt(np.maximum(found, 0.0)).sum(axis=1))
    return np.concatenate(sums)


def _outlines(luma_HW: Floats) -> Floats:
    """(H, W) in 0-1 -> (16, 9), each row of length 1 or 0."""
    down_HW, right_HW = np.gradient(luma_HW) if min(luma_HW.shape) > 1 else (np.zeros_like(luma_HW),) * 2
    lengths_HW = np.hypot(down_HW, right_HW)
    bins_HW = np.minimum((np.arctan2(down_HW, right_HW) % np.pi) / np.pi * NUM_BINS, NUM_BINS - 1).astype(np.int64)
    found = np.bincount((_cells(luma_HW.shape) * NUM_BINS + bins_HW).ravel(), lengths_HW.ravel(), GRID * GRID * NUM_BINS)
    rows = found.reshape(GRID * GRID, NUM_BINS)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-6))


def _colours(rgb_CHW: Floats) -> Floats:
    """(3, H, W) in 0-1 -> (16, 3) in -1..1: luma, red against green, yellow against blue."""
    red, green, blue = rgb_CHW
    channels = (2 * luma(rgb_CHW) - 1, red - green, (red + green) / 2 - blue)
    cells = _cells(red.shape).ravel()
    counts = np.maximum(np.bincount(cells, minlength=GRID * GRID), 1)
    return np.stack([np.bincount(cells, channel.ravel(), GRID * GRID) / counts for channel in channels], axis=1)


def _cells(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """(H, W): which of the 16 cells each pixel lies in."""
    rows, columns = (np.arange(size) * GRID // size for size in shape)
    return rows[:, None] * GRID + columns[None, :]
