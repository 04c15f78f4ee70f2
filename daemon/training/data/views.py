"""How an image becomes pixels of one size: buckets, resizing, crops, flips, and what SDXL is told of them. Pure geometry.

Sizes are (height, width), places (top, left), in pixels. As `train_dreambooth_lora_sdxl.py` has it: resize, flip, then crop; the crop's
place counts in the resized, flipped picture. Free of torch; knows nothing of files or draws.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageOps

Size = tuple[int, int]
"""(height, width) in pixels."""

MAX_BUCKET_ASPECT = 4
"""SDXL was trained on buckets from 1:4 to 4:1 (Podell et al., 2023, appendix I)."""


@dataclass(frozen=True)
class View:
    """One way an image is trained on: `size` pixels cut out at `top_left` of the image resized to cover `size`."""

    size: Size
    top_left: Size
    is_flipped: bool = False


@functools.lru_cache(maxsize=8)
def bucket_sizes(resolution: int, bucket_step: int) -> tuple[Size, ...]:
    """Sizes of at most `resolution`^2 pixels, sides multiples of `bucket_step`, for every width from half to double `resolution`.

    The square is always among them. Raises `ValueError` where `bucket_step` exceeds `resolution`.
    """
    if bucket_step > resolution:
        raise ValueError(f"bucket_step {bucket_step} exceeds resolution {resolution}")
    square = resolution // bucket_step * bucket_step
    shortest = max(bucket_step, math.ceil(resolution / math.sqrt(MAX_BUCKET_ASPECT) / bucket_step) * bucket_step)
    found = {(square, square)}
    for shorter in range(shortest, square + 1, bucket_step):
        longer = resolution**2 // shorter // bucket_step * bucket_step
        found |= {(shorter, longer), (longer, shorter)}
    return tuple(sorted(found))


def best_bucket(original_size: Size, sizes: Sequence[Size]) -> Size:
    """The size whose proportions are nearest to the image's; of equally near ones the larger, then the wider."""
    aspect = original_size[1] / original_size[0]
    return min(sizes, key=lambda size: (abs(math.log(size[1] / size[0] / aspect)), -size[0] * size[1], size))


def resized_size(original_size: Size, size: Size) -> Size:
    """The smallest size of the image's proportions that covers `size`: one side is equal, the other rounded down as torchvision does."""
    height, width = original_size
    if height * size[1] >= width * size[0]:
        return int(size[1] * height / width), size[1]
    return size[0], int(size[0] * width / height)


def num_crops(original_size: Size, size: Size) -> int:
    """How many crops of `size` the resized image has; 1 where it fits exactly."""
    height, width = resized_size(original_size, size)
    return (height - size[0] + 1) * (width - size[1] + 1)


def centre_view(original_size: Size, size: Size, is_flipped: bool = False) -> View:
    """The middle of the image, as torchvision's CenterCrop cuts it."""
    height, width = resized_size(original_size, size)
    return View(size, (round((height - size[0]) / 2), round((width - size[1]) / 2)), is_flipped)


def random_view(original_size: Size, size: Size, draw: int, is_flipped: bool = False) -> View:
    """The crop that `draw` (0 <= draw < 2**63) falls on, each equally likely."""
    _, width = resized_size(original_size, size)
    return View(size, divmod(draw % num_crops(original_size, size), width - size[1] + 1), is_flipped)


def cut(image: Image.Image, view: View) -> Image.Image:
    """An upright picture -> the `view.size` pixels of its view; a picture of that very size is not touched."""
    height, width = resized_size((image.height, image.width), view.size)
    resized = image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)
    flipped = ImageOps.mirror(resized) if view.is_flipped else resized
    top, left = view.top_left
    return flipped.crop((left, top, left + view.size[1], top + view.size[0]))


def time_ids(original_size: Size, view: View) -> tuple[int, ...]:
    """SDXL's micro-conditioning (Podell et al., 2023): original size, crop, target size; (height, width) and (top, left)."""
    return (*original_size, *view.top_left, *view.size)
