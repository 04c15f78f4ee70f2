from __future__ import annotations

import io

import pytest
from PIL import Image

from negtui.pixels.base import CellSize
from negtui.pixels.payload import budget, flatten, local_png, resized, small_png
from tests.fake_terminal import difference
from tests.sample_pictures import busy, typical


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_locally_every_colour_goes_out() -> None:
    image = typical(512)
    found = opened(local_png(image, 40, 20, CellSize()))
    assert found.size == (400, 400)
    assert difference(found, image.resize((400, 400), Image.Resampling.LANCZOS)) == 0


@pytest.mark.parametrize("image", [busy(1024), typical(1024)], ids=["busy", "typical"])
@pytest.mark.parametrize("place", [(60, 30), (20, 10), (8, 4), (100, 50)])
def test_over_ssh_the_budget_is_kept(image: Image.Image, place: tuple[int, int]) -> None:
    png = small_png(image, *place, CellSize())
    assert len(png) * 4 / 3 <= budget(*place)
    wanted = image.resize((place[0] * 10, place[1] * 20), Image.Resampling.LANCZOS)
    assert difference(wanted, opened(png)) < 20


def test_small_pictures_are_not_enlarged() -> None:
    assert resized(Image.new("RGB", (64, 64)), 60, 30, CellSize()).size == (64, 64)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    assert flatten(Image.new(mode, (4, 4))).mode == "RGB"


def test_what_is_transparent_is_black() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    assert flatten(image).tobytes() == bytes((0, 0, 0, 255, 0, 0))
