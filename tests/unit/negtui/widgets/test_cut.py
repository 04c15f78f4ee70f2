from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from negtui.widgets.cut import cut, whole_words, wrap

TEXT = st.text(alphabet="ab 日é", max_size=60)


@given(TEXT, st.integers(min_value=0, max_value=40))
def test_cut_takes_exactly_the_cells(text: str, width: int) -> None:
    assert cell_len(cut(text, width)) == width


def test_words_are_shown_whole_or_not_at_all() -> None:
    assert whole_words(["50", "flaw 0.2", "adherence 1"], 14) == " 50 flaw 0.2"
    assert whole_words(["日本"], 4) == ""
    assert whole_words([], 9) == ""


def test_cut_says_that_something_is_left_out() -> None:
    assert cut("a long text", 8) == "a long.."
    assert cut("short", 8) == "short   "


@given(TEXT, st.integers(min_value=2, max_value=30), st.integers(min_value=0, max_value=9))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int, indent: int) -> None:
    lines = list(wrap(text, width, indent))
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_words_stay_whole_where_they_can() -> None:
    assert list(wrap("one two three", 11, 2)) == ["one two", "  three"]
