from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from negtui.pixels.base import BACKENDS, CellSize, fit, through_tmux


@given(*[st.integers(1, 4000)] * 2, *[st.integers(1, 300)] * 2, st.integers(4, 20), st.integers(8, 40))
def test_a_picture_fits_and_keeps_its_proportions(width: int, height: int, columns: int, rows: int, across: int, down: int) -> None:
    found = fit(width, height, columns, rows, CellSize(across, down))
    assert 1 <= found[0] <= columns
    assert 1 <= found[1] <= rows
    scale = min(columns * across / width, rows * down / height)
    assert abs(found[0] - width * scale / across) <= 1
    assert abs(found[1] - height * scale / down) <= 1


def test_nothing_fits_nowhere() -> None:
    assert fit(10, 10, 0, 5, CellSize()) == (0, 0)
    assert BACKENDS == ("kitty", "sixel", "half", "off")


def test_escapes_are_doubled_for_tmux() -> None:
    assert through_tmux(b"\x1b_Gq\x1b\\") == b"\x1bPtmux;\x1b\x1b_Gq\x1b\x1b\\\x1b\\"
