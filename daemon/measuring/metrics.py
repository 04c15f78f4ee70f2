"""What can be measured of a picture without a model: plain statistics of its pixels. numpy and Pillow only.

None of them is quality. A picture may be sharper, more vivid and worse: they say what kind of change an arm makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float64]
Values = dict[str, float]
Measure = Callable[[Sequence[Image.Image], Sequence[str]], list[Values]]
"""Pictures and their prompts -> figures by metric name, a dict a picture."""

VERSION = "plain-2"
"""Goes up when a figure changes, so that pictures are measured again."""


@dataclass(frozen=True)
class Metric:
    """What a figure is, and which direction is good. `neither`: it describes the picture's look, not its worth."""

    name: str
    description: str
    better: Literal["higher", "lower", "neither"] = "neither"
    scorer: str = ""
    """Which of `comparison.scorers` gives it; empty: every comparison has it."""


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("flaw_probability", "the probe's probability that the picture is flawed", "lower", "toy-probe"),
        Metric("adherence", "share of pictures with every attribute of the prompt right", "higher", "toy-probe"),
        Metric("clip_score", "100 times the cosine of picture and prompt in CLIP", "higher", "clip-score"),
        Metric("pickscore", "PickScore: which picture people would pick for the prompt", "higher", "pickscore"),
        Metric("hpsv2_1", "HPS v2.1: which picture people would prefer for the prompt", "higher", "hpsv2.1"),
        Metric("imagereward", "ImageReward: how people would rate the picture for the prompt", "higher", "imagereward"),
        Metric("aesthetic", "LAION's aesthetic predictor (about 1-10)", "higher", "aesthetic"),
        Metric("sharpness", "variance of the Laplacian of the luma (0-255)"),
        Metric("relative_sharpness", "sharpness with contrast held: over the variance of the luma"),
        Metric("texture", "median over 8 x 8 tiles of the luma's standard deviation (0-1)"),
        Metric("relative_texture", "texture with contrast held: over the standard deviation of the luma"),
        Metric("contrast", "standard deviation of the luma (0-1)"),
        Metric("saturation", "mean HSV saturation (0-1)"),
        Metric("colourfulness", "Hasler and Suesstrunk's M3"),
        Metric("edge_density", "share of pixels on an edge"),
        Metric("brightness", "mean of the luma (0-1)"),
        Metric("exposure", "mean well-exposedness (0-1): neither too dark nor too bright"),
        Metric("diversity", "mean distance between pictures of an arm (0-1)"),
    )
}
QUALITY = tuple(name for name, metric in METRICS.items() if metric.better != "neither")
EDGE_THRESHOLD = 0.1
"""Gradient of the luma per pixel, where 1 is a step from black to white."""
TILE = 8
"""Side of the tiles that texture is read in, in pixels."""
EXPOSURE_WIDTH = 0.2
"""Standard deviation of the well-exposed values around 0.5, as the paper has it."""
_FLAT = 1e-6
"""Below this variance (luma in 0-255) there is no contrast to hold: a picture of one colour."""


def present(values: Iterable[Mapping[str, float]]) -> list[str]:
    """The names of all metrics that any of them has, in the order of `METRICS`."""
    names = {name for found in values for name in found}
    return [name for name in METRICS if name in names]


def measure(image: Image.Image) -> dict[str, float]:
    """All plain figures of an RGB picture, finite floats by metric name."""
    rgb_CHW = np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1), dtype=np.float64)
    luma_HW = luma(rgb_CHW)
    sharpness, texture = laplacian_variance(luma_HW), median_tile_deviation(luma_HW)
    variance = float(luma_HW.var())
    is_flat = variance < _FLAT
    return {
        "sharpness": sharpness,
        "relative_sharpness": 0.0 if is_flat else sharpness / variance,
        "texture": texture / 255,
        "relative_texture": 0.0 if is_flat else texture / variance**0.5,
        "contrast": variance**0.5 / 255,
        "saturation": mean_saturation(rgb_CHW),
        "colourfulness": colourfulness(rgb_CHW),
        "edge_density": edge_density(luma_HW),
        "brightness": float(luma_HW.mean() / 255),
        "exposure": well_exposedness(rgb_CHW),
    }


def luma(rgb_CHW: Floats) -> Floats:
    """Luma of ITU-R BT.601: (3, H, W) -> (H, W) in the same unit."""
    luma_HW: Floats = 0.299 * rgb_CHW[0] + 0.587 * rgb_CHW[1] + 0.114 * rgb_CHW[2]
    return luma_HW


def laplacian_variance(luma_HW: Floats) -> float:
    """Variance of the four-neighbour Laplacian inside the border (Pech-Pacheco et al., 2000, "LAPV"): (H, W) in 0-255 -> float."""
    if min(luma_HW.shape) < 3:
        return 0.0
    centre = luma_HW[1:-1, 1:-1]
    around = luma_HW[:-2, 1:-1] + luma_HW[2:, 1:-1] + luma_HW[1:-1, :-2] + luma_HW[1:-1, 2:]
    return float((around - 4 * centre).var())


def median_tile_deviation(luma_HW: Floats) -> float:
    """Standard deviation inside each whole `TILE` x `TILE` tile, the median of them: (H, W) -> float in the luma's unit.

    Local deviation is the plainest statistic of texture (Gonzalez and Woods, "Digital Image Processing", on regional descriptors);
    the median leaves out the tiles that an outline crosses. A picture smaller than a tile is one tile.
    """
    height, width = luma_HW.shape
    if min(height, width) < TILE:
        return float(luma_HW.std())
    rows, columns = height // TILE, width // TILE
    tiles_RTCT = luma_HW[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE)
    return float(np.median(tiles_RTCT.std(axis=(1, 3))))


def well_exposedness(rgb_CHW: Floats) -> float:
    """Product over channels of exp(-(x - 0.5)^2 / (2 * 0.2^2)), averaged (Mertens et al., 2007, "Exposure Fusion"): 0-255 -> 0-1."""
    off_middle_CHW = rgb_CHW / 255 - 0.5
    return float(np.exp(-(off_middle_CHW**2).sum(axis=0) / (2 * EXPOSURE_WIDTH**2)).mean())


def mean_saturation(rgb_CHW: Floats) -> float:
    """Mean of HSV's S, (max - min) / max, black counting 0: (3, H, W) -> 0-1."""
    highest, lowest = rgb_CHW.max(axis=0), rgb_CHW.min(axis=0)
    return float(np.mean((highest - lowest) / np.maximum(highest, 1e-9)))


def colourfulness(rgb_CHW: Floats) -> float:
    """M3 of Hasler and Suesstrunk (2003), "Measuring colourfulness in natural images": (3, H, W) in 0-255 -> about 0-110."""
    red, green, blue = rgb_CHW
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def edge_density(luma_HW: Floats) -> float:
    """Share of inner pixels whose central-difference gradient exceeds `EDGE_THRESHOLD`: (H, W) in 0-255 -> 0-1."""
    if min(luma_HW.shape) < 3:
        return 0.0
    down = (luma_HW[2:, 1:-1] - luma_HW[:-2, 1:-1]) / 510
    right = (luma_HW[1:-1, 2:] - luma_HW[1:-1, :-2]) / 510
    return float(np.mean(down * down + right * right > EDGE_THRESHOLD**2))
