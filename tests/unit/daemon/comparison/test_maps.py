"""Maps: dark is nothing, bright is the highest, each number a square."""

import io

import numpy as np
import pytest
from PIL import Image

from daemon.comparison.maps import difference_map, map_png


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def test_numbers_become_squares_from_dark_to_bright() -> None:
    image = opened(map_png(np.array([[0.0, 1.0], [2.0, 4.0]]), 4.0))
    assert image.size == (256, 256)
    assert image.getpixel((0, 0)) == (0, 0, 4)
    assert image.getpixel((255, 255)) == (252, 255, 164)
    lumas = [image.convert("L").getpixel(place) for place in ((0, 0), (255, 0), (0, 255), (255, 255))]
    assert lumas == sorted(lumas)
    assert len(set(lumas)) == 4


def test_a_large_map_is_not_enlarged_and_one_of_zeros_is_dark() -> None:
    image = opened(map_png(np.zeros((300, 200)), 0.0))
    assert image.size == (200, 300)
    assert image.getcolors() == [(60000, (0, 0, 4))]


def test_differences_are_means_over_channels() -> None:
    one, other = Image.new("RGB", (2, 1), (10, 20, 30)), Image.new("RGB", (2, 1), (10, 20, 30))
    other.putpixel((1, 0), (13, 20, 24))
    assert difference_map(one, other) == pytest.approx(np.array([[0.0, 3.0]]))
