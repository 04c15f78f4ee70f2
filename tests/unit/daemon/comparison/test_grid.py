"""The contact sheet: every picture at its place, captions that fit, further sheets for further rows."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from daemon.comparison.grid import MAX_CELL_PIXELS, ROWS_PER_SHEET, Column, Row, cell_size, draw_sheets, wrap

COLUMNS = (Column("baseline", "no negative prompt"), Column("target", 'LoRA wrong, negative "wrong"'))
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}


def rows(folder: Path, count: int, size: tuple[int, int] = (16, 16)) -> list[Row]:
    for name, colour in COLOURS.items():
        Image.new("RGB", size, colour).save(folder / f"{name}.png")
    return [
        Row(f"a prompt (seed {number})", (folder / "red.png", folder / "blue.png"), ("flaw 0.10", "flaw 0.90")) for number in range(count)
    ]


def sheets(heading: str, given_rows: list[Row]) -> list[Image.Image]:
    return [Image.open(io.BytesIO(content)) for content in draw_sheets(heading, COLUMNS, given_rows)]


def test_every_picture_is_there_whole_and_in_its_column(tmp_path: Path) -> None:
    (sheet,) = sheets("mine: default", rows(tmp_path, 3))
    width, height = cell_size((16, 16), 2)
    left, right = (sheet.crop((x, 0, x + sheet.width // 2, sheet.height)) for x in (0, sheet.width // 2))
    for half, colour in ((left, COLOURS["red"]), (right, COLOURS["blue"])):
        counted = {pixel: count for count, pixel in half.getcolors(2**24)}
        assert counted[colour] == 3 * width * height


@pytest.mark.parametrize(("count", "num_sheets"), [(1, 1), (ROWS_PER_SHEET, 1), (ROWS_PER_SHEET + 1, 2), (2 * ROWS_PER_SHEET + 1, 3)])
def test_further_rows_go_on_further_sheets(tmp_path: Path, count: int, num_sheets: int) -> None:
    drawn = sheets("mine", rows(tmp_path, count))
    assert len(drawn) == num_sheets
    assert len({sheet.width for sheet in drawn}) == 1
    assert drawn[0].height >= drawn[-1].height


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    given_rows = rows(tmp_path, 2)
    assert list(draw_sheets("mine", COLUMNS, given_rows)) == list(draw_sheets("mine", COLUMNS, given_rows))


@given(width=st.integers(1, 4096), height=st.integers(1, 4096), num_columns=st.integers(1, 64))
def test_a_cell_keeps_its_shape_and_small_pictures_grow_by_whole_factors(width: int, height: int, num_columns: int) -> None:
    cell = cell_size((width, height), num_columns)
    assert min(cell) >= 1
    assert max(cell) <= MAX_CELL_PIXELS
    if max(width, height) <= max(cell):
        assert (cell[0] % width, cell[1] % height) == (0, 0)
        assert cell[0] // width == cell[1] // height
    else:
        assert abs(cell[0] * height - cell[1] * width) <= max(width, height)


@pytest.mark.parametrize(
    ("size", "num_columns", "expected"), [((64, 64), 3, (320, 320)), ((1024, 1024), 3, (320, 320)), ((1024, 512), 12, (150, 75))]
)
def test_cells_of_usual_pictures(size: tuple[int, int], num_columns: int, expected: tuple[int, int]) -> None:
    assert cell_size(size, num_columns) == expected


@given(text=st.text(max_size=120), width=st.integers(4, 40), max_lines=st.integers(1, 4))
def test_wrapped_lines_fit_and_lose_nothing_unless_they_say_so(text: str, width: int, max_lines: int) -> None:
    lines = wrap(text, width, max_lines, len)
    assert len(lines) <= max_lines
    assert all(len(line) <= width for line in lines)
    kept, whole = "".join("".join(lines).split()), "".join(text.split())
    assert kept == whole or (kept.endswith("…") and whole.startswith(kept[:-1]))


def test_words_are_kept_whole_where_they_fit() -> None:
    assert wrap("two small green squares", 9, 5, len) == ["two small", "green", "squares"]
    assert wrap("two small green squares", 9, 2, len) == ["two small", "green…"]


def test_long_captions_in_any_script_are_drawn(tmp_path: Path) -> None:
    (first, *_) = rows(tmp_path, 1)
    plain = sheets("mine", [first])[0]
    long = sheets("mine", [Row("狼 " * 400 + "x" * 500, first.picture_paths, first.notes)])[0]
    assert plain.height < long.height <= plain.height + 60
