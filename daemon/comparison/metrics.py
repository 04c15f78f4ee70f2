"""What can be measured of a picture without a model: plain statistics of its pixels. numpy and Pillow only.

None of them is quality. A picture may be sharper, more vivid and worse: they say what kind of change an arm makes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float64]
Values = dict[str, float]
Measure = Callable[[Sequence[Image.Image], Sequence[str]], list[Values]]
"""Pictures and their prompts -> figures by metric name, a dict a picture."""

VERSION = "plain-1"
"""Goes up when a figure changes, so that pictures are measured again."""


@dataclass(frozen=True)
class Metric:
    """What a figure is, and which direction is good. `neither`: it describes the picture's look, not its worth."""

    name: str
    description: str
    better: Literal["higher", "lower", "neither"] = "neither"


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("flaw_probability", "the probe's probability that the picture is flawed", "lower"),
        Metric("adherence", "share of pictures with every attribute of the prompt right", "higher"),
        Metric("sharpness", "variance of the Laplacian of the luma (0-255)"),
        Metric("contrast", "standard deviation of the luma (0-1)"),
        Metric("saturation", "mean HSV saturation (0-1)"),
        Metric("colourfulness", "Hasler and Suesstrunk's M3"),
        Metric("edge_density", "share of pixels on an edge"),
    )
}
EDGE_THRESHOLD = 0.1
"""Gradient of the luma per pixel, where 1 is a step from black to white."""


def measure(image: Image.Image) -> dict[str, float]:
    """All plain figures of an RGB picture, finite floats by metric name."""
    rgb_CHW = np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1), dtype=np.float64)
    luma_HW = 0.299 * rgb_CHW[0] + 0.587 * rgb_CHW[1] + 0.114 * rgb_CHW[2]
    return {
        "sharpness": laplacian_variance(luma_HW),
        "contrast": float(luma_HW.std() / 255),
        "saturation": mean_saturation(rgb_CHW),
        "colourfulness": colourfulness(rgb_CHW),
        "edge_density": edge_density(luma_HW),
    }


def laplacian_variance(luma_HW: Floats) -> float:
    """Variance of the four-neighbour Laplacian inside the border (Pech-Pacheco et al., 2000, "LAPV"): (H, W) in 0-255 -> float."""
    if min(luma_HW.shape) < 3:
        return 0.0
    centre = luma_HW[1:-1, 1:-1]
    around = luma_HW[:-2, 1:-1] + luma_HW[2:, 1:-1] + luma_HW[1:-1, :-2] + luma_HW[1:-1, 2:]
    return float((around - 4 * centre).var())


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
