from __future__ import annotations

import pytest
from PIL import Image

from negtui.pixels.base import CellSize
from negtui.pixels.sixel import BAND_BYTES, bands, encode
from tests.fake_terminal import FakeTerminal, difference
from tests.sample_pictures import busy, typical


def shown(image: Image.Image, columns: int, rows: int, colours: int = 256) -> Image.Image:
    terminal = FakeTerminal(columns, rows)
    for band in bands(image, columns, rows, CellSize(), colours=colours):
        terminal.feed(b"\x1b[%d;1H" % (band.top + 1) + band.content)
    return terminal.picture()


@pytest.mark.parametrize(("colours", "far"), [(256, 6.0), (64, 10.0), (16, 22.0)])
def test_the_bands_make_the_picture(colours: int, far: float) -> None:
    image = typical(512)
    assert difference(shown(image, 40, 20, colours), image.resize((400, 400), Image.Resampling.LANCZOS)) < far


def test_every_pixel_is_exact_where_the_palette_is() -> None:
    image = Image.new("RGB", (100, 140), (255, 0, 0))
    image.paste((0, 255, 0), (30, 31, 77, 99))
    image.paste((0, 0, 255), (0, 100, 100, 139))
    assert difference(shown(image, 10, 7), image) == 0


def test_bands_are_small_and_leave_nothing_out() -> None:
    for image in (busy(512), typical(512)):
        found = bands(image, 60, 30, CellSize())
        assert [band.top for band in found] == [sum(band.rows for band in found[:number]) for number in range(len(found))]
        assert sum(band.rows for band in found) == 30
        assert max(len(band.content) for band in found) < 1.6 * BAND_BYTES


def test_a_plain_picture_takes_next_to_nothing() -> None:
    plain = Image.new("RGB", (600, 600), (10, 20, 30)).quantize(256)
    assert len(encode(plain)) < 1500


def test_odd_heights_end_where_they_should() -> None:
    content = encode(Image.new("RGB", (7, 5), (255, 255, 255)).quantize(2))
    assert content.startswith(b'\x1bP0;1;0q"1;1;7;5')
    terminal = FakeTerminal(2, 2)
    terminal.feed(content)
    assert terminal.canvas.getpixel((6, 4))[3] == 255
    assert terminal.canvas.getpixel((6, 5))[3] == 0
