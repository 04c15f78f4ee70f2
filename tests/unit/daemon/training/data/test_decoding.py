from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import as_bytes, picture
from PIL import Image

from daemon.training.data.decoding import RefusedImage, decode, printable, read_regular


@given(st.binary(max_size=400), st.integers(0, 400))
def test_damaged_bytes_are_refused_and_never_more_than_that(rubbish: bytes, place: int) -> None:
    content = as_bytes(picture(3))
    for damaged in (rubbish, content[:place] + rubbish + content[place + len(rubbish) :]):
        with contextlib.suppress(RefusedImage):
            assert decode(damaged).mode == "RGB"


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (20, 10), "red")
    image.paste("blue", (0, 0, 10, 10))
    upright = decode(as_bytes(image, "JPEG", exif=exif, quality=95))
    assert upright.size == (10, 20)
    assert upright.getpixel((5, 2))[2] > 200
    assert upright.getpixel((5, 17))[0] > 200


def test_transparent_pixels_become_white_and_others_stay() -> None:
    image = Image.new("RGBA", (16, 16), (10, 20, 30, 0))
    image.paste((200, 100, 50, 255), (0, 0, 8, 16))
    for content in (as_bytes(image), as_bytes(image, "WEBP", lossless=True), as_bytes(image.quantize(), "PNG")):
        found = decode(content)
        assert found.getpixel((12, 3)) == (255, 255, 255)
        assert found.getpixel((3, 3)) == (200, 100, 50)


def test_one_colour_marked_as_transparent_becomes_white() -> None:
    image = Image.new("RGB", (16, 16), (10, 20, 30))
    image.paste((200, 100, 50), (0, 0, 8, 16))
    found = decode(as_bytes(image, transparency=(10, 20, 30)))
    assert found.getpixel((12, 3)) == (255, 255, 255)
    assert found.getpixel((3, 3)) == (200, 100, 50)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_png_mode_becomes_rgb(mode: str) -> None:
    assert decode(as_bytes(Image.new("RGB", (16, 16), "white").convert(mode))).getpixel((1, 1)) == (255, 255, 255)


def test_cmyk_jpeg_becomes_rgb() -> None:
    found = decode(as_bytes(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    red, green, blue = found.getpixel((8, 8))
    assert red > 240
    assert green < 15
    assert blue < 15


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    grey = np.full((16, 16), 32768, dtype=np.uint16)
    assert decode(as_bytes(Image.fromarray(grey))).getpixel((3, 3)) == (127, 127, 127)


def test_a_phones_picture_of_several_frames_is_its_first() -> None:
    content = as_bytes(Image.new("RGB", (16, 16), "red"), "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")])
    assert decode(content).getpixel((8, 8))[0] > 200
    animated = as_bytes(Image.new("RGB", (16, 16), "red"), save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")])
    assert decode(animated).getpixel((8, 8)) == (255, 0, 0)


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    assert read_regular(tmp_path / "a", 5) == b"12345"
    for name, words in (("link", "symbolic link"), ("pipe", "not a regular file"), ("none", "cannot be opened"), ("a", "MiB")):
        with pytest.raises(RefusedImage, match=words):
            read_regular(tmp_path / name, 4)


def test_a_name_can_always_be_told() -> None:
    assert printable(Path("/x/a b.png")) == "a b.png"
    told = printable(Path(os.fsdecode(b"/x/\xff\x1b[31m\n.png")))
    assert told.isprintable()
    assert told.encode()
    assert told.endswith(".png")
