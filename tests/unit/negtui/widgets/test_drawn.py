from __future__ import annotations

from rich.style import Style

from negtui.pixels import kitty
from negtui.pixels.half import Run
from negtui.pixels.sixel import Band
from negtui.pixels.store import Sent
from negtui.widgets.drawn import Drawn

BACKGROUND = Style.parse("white on black")
HALF = [[Run("▀▀", (200, 0, 0), (0, 0, 200))], [Run("▀▀", (0, 200, 0), None)]]


def words(drawn: Drawn, row: int) -> str:
    return "".join(segment.text for segment in drawn.segments(row, BACKGROUND))


def half_blocks() -> Drawn:
    drawn = Drawn()
    drawn.place, drawn.rows = (2, 2), HALF
    return drawn


def test_half_blocks_have_their_colours_and_rows_that_are_missing_are_blank() -> None:
    drawn = half_blocks()
    assert drawn.backend == "half"
    (top,), (bottom,) = drawn.segments(0, BACKGROUND), drawn.segments(1, BACKGROUND)
    assert top.style == Style.parse("#c80000 on #0000c8")
    assert bottom.style == Style.parse("#00c800 on black")
    assert words(drawn, 2) == "  "


def test_what_the_terminal_holds_stands_in_the_place_of_half_blocks_until_it_is_dropped() -> None:
    drawn, sent = half_blocks(), Sent(id=0x010203, key="a", columns=2, rows=2)
    drawn.hold(sent)
    assert (drawn.backend, drawn.rows, sent.num_users) == ("kitty", [], 1)
    assert words(drawn, 1) == kitty.placeholder_rows(2, 2)[1]
    drawn.drop()
    assert (drawn.backend, drawn.sent, sent.num_users) == ("", None, 0)


def test_cells_are_free_for_sixel_pixels_unless_something_covers_them() -> None:
    drawn = half_blocks()
    drawn.take_bands([Band(0, 1, b"top"), Band(1, 1, b"bottom")])
    assert (drawn.backend, words(drawn, 0)) == ("sixel", "  ")
    drawn.is_covered = True
    assert (drawn.backend, words(drawn, 0)) == ("half", "▀▀")
    drawn.take_bands([Band(0, 2, b"anew")])
    assert drawn.backend == "sixel"


def test_rows_that_were_written_find_the_bands_that_reach_into_them() -> None:
    drawn = Drawn()
    first, second = Band(0, 2, b"first"), Band(2, 2, b"second")
    drawn.take_bands([first, second])
    assert drawn.bands_at({1}) == [first]
    assert drawn.bands_at({1, 2}) == [first, second]
    assert drawn.bands_at({9}) == []
