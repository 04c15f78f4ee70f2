from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negtui.output import Output, clean, duration, table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$q\x1b\\x", "x"),
        ("\x1b_Gi=1;AAAA\x1b\\x", "x"),
        ("\x9b2Jx", "x"),
        ("a\rb\x08c\x7f", "abc"),
        ("\u202eevil", "evil"),
        ("\x1b", ""),
        ("é 漢 😀", "é 漢 😀"),
    ],
)
def test_escapes_are_taken_out(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text() | st.text(st.sampled_from("\x1b\x9b[]0;m\x07\\Px\n")))
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    left = clean(text)
    assert not any(ord(character) < 32 and character not in "\n\t" for character in left)
    assert not any(0x7F <= ord(character) < 0xA0 for character in left)
    assert clean(left) == left


@given(st.text())
def test_any_text_can_be_written_to_any_stream(text: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    output = Output(stdout=stream, stderr=stream)
    output.line(text)
    output.note(text)
    stream.seek(0)
    assert stream.read().isascii()


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7620, "2 h 07 min")]
)
def test_durations_are_read_easily(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_tables_are_aligned() -> None:
    assert table(("a", "b", "c"), [("1", "long\nname", ""), ("100", "x", "y")], right=frozenset({0})) == [
        "  a  b          c",
        "  1  long name",
        "100  x          y",
    ]
