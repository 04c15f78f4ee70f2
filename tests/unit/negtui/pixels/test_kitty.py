from __future__ import annotations

import io
import unicodedata

import pytest
from PIL import Image

from negtui.pixels import kitty
from tests.fake_terminal import FakeTerminal, difference
from tests.sample_pictures import png, typical


def test_marks_are_those_of_the_protocol() -> None:
    assert len(kitty.MARKS) >= kitty.MAX_CELLS
    assert len(set(kitty.MARKS)) == len(kitty.MARKS)
    assert list(kitty.MARKS) == sorted(kitty.MARKS)
    assert [f"{ord(mark):X}" for mark in kitty.MARKS[:9]] == ["305", "30D", "30E", "310", "312", "33D", "33E", "33F", "346"]
    assert [kitty.MARKS.index(chr(code)) for code in (0x36F, 0x483, 0x610, 0x6EC, 0x82D)] == [29, 30, 54, 84, 128]
    for mark in kitty.MARKS:
        assert unicodedata.combining(mark) == 230
        assert unicodedata.decomposition(mark) == ""


@pytest.mark.parametrize("in_tmux", [False, True])
def test_what_is_sent_is_what_placeholders_show(in_tmux: bool) -> None:
    image = typical(512).resize((400, 300))
    terminal = FakeTerminal(60, 20)
    id = 0x123456
    for piece in kitty.transmit(id, png(image), 40, 15, in_tmux=in_tmux):
        terminal.feed(piece)
    colour = "\x1b[38;2;{};{};{}m".format(*kitty.id_colour(id))
    for number, line in enumerate(kitty.placeholder_rows(40, 15)):
        terminal.feed(f"\x1b[{number + 3};6H{colour}{line}".encode())
    assert difference(terminal.picture(5, 2, 40, 15), image) == 0


def test_pieces_are_whole_commands_of_a_few_kilobytes() -> None:
    pieces = kitty.transmit(7, bytes(200_000), 10, 5)
    assert max(map(len, pieces)) <= kitty.PIECE + kitty.CHUNK
    assert len(pieces) > 10
    for piece in pieces:
        assert piece.startswith(b"\x1b_G")
        assert piece.endswith(b"\x1b\\")
    assert all(len(command.partition(b";")[2]) <= kitty.CHUNK for command in b"".join(pieces).split(b"\x1b\\"))


def test_placing_and_deleting_are_lines() -> None:
    terminal = FakeTerminal()
    terminal.feed(b"".join(kitty.transmit(9, png(Image.new("RGB", (8, 8))), 10, 5)) + kitty.place(9, 20, 10))
    assert terminal.places[9] == (20, 10)
    assert len(kitty.place(9, 20, 10)) < 50
    terminal.feed(kitty.delete(9))
    assert terminal.images == {}


def test_empty_pictures_and_enormous_places_do_no_harm() -> None:
    assert kitty.transmit(1, b"", 1, 1)
    rows = kitty.placeholder_rows(1000, 1000)
    assert len(rows) == 256
    assert rows[0].count(kitty.PLACEHOLDER) == 256
    assert io.BytesIO(rows[255].encode()).read()
