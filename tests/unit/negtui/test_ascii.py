from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color

from negtui.ascii import AsciiOnly, to_ascii


@given(st.text(alphabet=st.characters(blacklist_categories=("Cc", "Cs"))))
def test_text_becomes_ascii_of_the_same_width(text: str) -> None:
    plain = to_ascii(text)
    assert plain.isascii()
    assert plain.isprintable()
    assert cell_len(plain) == cell_len(text)


def test_lines_blocks_and_dots_stay_recognisable() -> None:
    assert to_ascii("─│╭█▁⣿ é …") == "-|+#-# e ."
    assert to_ascii("日本") == "????"
    assert to_ascii("🔎 zoom") == ">  zoom"


def test_segments_keep_their_styles() -> None:
    kept = AsciiOnly().apply([Segment("█"), Segment("a")], Color(0, 0, 0))
    assert [segment.text for segment in kept] == ["#", "a"]
