from __future__ import annotations

import pytest
from PIL import Image

from negtui.pixels.base import Colours
from negtui.pixels.half import BASIC, LEVELS, half_rows, quantised, sgr
from tests.fake_terminal import FakeTerminal, difference
from tests.sample_pictures import busy, typical


def drawn(image: Image.Image, columns: int, rows: int, colours: Colours, coarse: int = 1) -> tuple[Image.Image, int]:
    terminal = FakeTerminal(columns, rows)
    for y, row in enumerate(half_rows(image, columns, rows, colours, coarse=coarse)):
        terminal.feed(f"\x1b[{y + 1};1H".encode() + "".join(sgr(run, colours) for run in row).encode() + b"\x1b[0m")
    return terminal.picture(), terminal.num_bytes


@pytest.mark.parametrize(("colours", "far"), [("truecolor", 1.0), ("256", 20.0)])
def test_half_blocks_look_like_the_picture(colours: Colours, far: float) -> None:
    image = typical(512)
    seen, _ = drawn(image, 60, 30, colours)
    small = image.resize((60, 60), Image.Resampling.BOX).resize((600, 600), Image.Resampling.NEAREST)
    assert difference(seen, small) < far


def test_coarse_previews_take_few_bytes() -> None:
    _, fine = drawn(busy(512), 60, 30, "truecolor")
    _, coarse = drawn(busy(512), 60, 30, "256", coarse=4)
    assert fine <= 80_000
    assert coarse <= 8_000


def test_plain_areas_are_one_run() -> None:
    rows = half_rows(Image.new("RGB", (64, 64), (95, 135, 175)), 20, 10, "256")
    assert [len(row) for row in rows] == [1] * 10
    assert sgr(rows[0][0], "256") == "\x1b[48;5;67m" + " " * 20


def test_every_cell_is_drawn() -> None:
    for colours in ("truecolor", "256", "16", "none"):
        rows = half_rows(busy(512), 33, 7, colours)  # type: ignore[arg-type]
        assert [sum(len(run.text) for run in row) for row in rows] == [33] * 7


def test_only_colours_that_there_are() -> None:
    assert {value for pixel in quantised(busy(512), "256").getdata() for value in pixel} <= set(LEVELS)
    assert set(quantised(busy(512), "16").getdata()) <= set(BASIC)
    codes = "".join(sgr(run, "16") for run in half_rows(busy(512), 20, 10, "16")[0])
    assert ";5;" not in codes
    assert ";2;" not in codes


def test_without_colours_there_are_shades_and_no_escapes() -> None:
    ramp = Image.linear_gradient("L").rotate(90)
    for ascii, text in ((False, " ░▒▓█"), (True, " .:-=+*#%@")):
        rows = half_rows(ramp, 40, 4, "none", ascii=ascii)
        assert {run.foreground for row in rows for run in row} == {None}
        assert set(rows[0][0].text) == set(text)
        assert all(run.text.isascii() for row in rows for run in row) is ascii


def test_no_room_no_rows() -> None:
    assert half_rows(busy(512), 0, 0, "truecolor") == []
