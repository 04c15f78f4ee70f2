from __future__ import annotations

from rich.color import Color, ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style

from negtui.widgets.lean_strip import LeanStrip, lean
from tests.fake_terminal import FakeTerminal


def style(foreground: tuple[int, int, int] | None, background: tuple[int, int, int] | None) -> Style:
    return Style.from_color(foreground and Color.from_rgb(*foreground), background and Color.from_rgb(*background))


SEGMENTS = [
    Segment("ab", style((1, 2, 3), (4, 5, 6))),
    Segment("c", style((1, 2, 3), (7, 8, 9))),
    Segment("d", style(None, (7, 8, 9))),
    Segment("e", None),
    Segment("f", style((95, 135, 175), None)),
]


def cells(text: str) -> list[tuple[str, object, object]]:
    terminal = FakeTerminal(10, 1)
    terminal.feed(text.encode())
    return [(cell.text, cell.foreground, cell.background) for cell in terminal.cells[0][:6]]


WANTED = [
    ("a", (1, 2, 3), (4, 5, 6)),
    ("b", (1, 2, 3), (4, 5, 6)),
    ("c", (1, 2, 3), (7, 8, 9)),
    ("d", None, (7, 8, 9)),
    ("e", None, None),
    ("f", (95, 135, 175), None),
]


def test_the_cells_are_the_same_in_fewer_bytes() -> None:
    text = lean(SEGMENTS, ColorSystem.TRUECOLOR)
    assert cells(text) == WANTED
    assert text.endswith("\x1b[0m")
    usual = "".join(Style.render(segment.style or Style(), segment.text, color_system=ColorSystem.TRUECOLOR) for segment in SEGMENTS)
    assert len(text) < len(usual)


def test_colours_of_the_cube_are_short_only_where_it_is_allowed() -> None:
    assert "38;5;67" in lean(SEGMENTS, ColorSystem.TRUECOLOR, short=True)
    assert cells(lean(SEGMENTS, ColorSystem.TRUECOLOR, short=True)) == WANTED
    assert "38;2;95;135;175" in lean(SEGMENTS, ColorSystem.TRUECOLOR)


def test_fewer_colours_and_none() -> None:
    assert ";2;" not in lean(SEGMENTS, ColorSystem.EIGHT_BIT)
    assert lean([Segment("plain", None)], ColorSystem.TRUECOLOR) == "plain"


def test_every_part_tells_when_it_is_written() -> None:
    heard: list[int] = []
    console = Console(color_system="truecolor", force_terminal=True)
    strip = LeanStrip(SEGMENTS, 6, lambda: heard.append(1))
    parts = strip.divide([2, 4, 6])
    assert [part.text for part in parts] == ["ab", "cd", "ef"]
    assert heard == []
    text = "".join(part.render(console) for part in parts)
    assert cells(text) == WANTED
    assert heard == [1, 1, 1]
    assert strip.crop(1, 3).render(console)
    assert strip.render(console) == strip.render(console)
    assert len(heard) == 6
