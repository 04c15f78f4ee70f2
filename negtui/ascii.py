"""`--ascii`: nothing but ASCII reaches the terminal, whatever a widget draws. Lines, blocks and dots keep their places."""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_DRAWN = {
    **dict.fromkeys("─━╌╍┄┅┈┉═╴╶╸╺▔▁", "-"),
    **dict.fromkeys("│┃╎╏┆┇┊┋║╵╷╹╻▏▕", "|"),
    **dict.fromkeys("•·∙●◉■◆★✓✔", "*"),
    **dict.fromkeys("○◌□◇☆", "o"),
    **dict.fromkeys("✗✘×", "x"),
    **dict.fromkeys("▂▃░", "."),
    **dict.fromkeys("▄▅▒▌▐", "+"),
    **dict.fromkeys("▆▇█▓▀", "#"),
    **dict.fromkeys("→▶▸▷»›", ">"),
    **dict.fromkeys("←◀◂◁«‹", "<"),
    **dict.fromkeys("↑▲▴△", "^"),
    **dict.fromkeys("↓▼▾▽", "v"),
    **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("“”„″", '"'),
    **dict.fromkeys("–—−‐‑", "-"),
    "…": ".",
    "🔎": "> ",
    "±": "~",
    "°": "o",
    "\u00a0": " ",
}


def to_ascii(text: str) -> str:
    """As many ASCII characters as `text` takes cells."""
    return text if text.isascii() else "".join(_one(character) for character in text)


def _one(character: str) -> str:
    if character.isascii():
        return character
    if character in _DRAWN:
        return _DRAWN[character]
    code = ord(character)
    if 0x2500 <= code < 0x2580:
        return "+"
    if 0x2580 <= code < 0x25A0:
        return "#"
    if 0x2800 <= code < 0x2900:
        return " .:#"[min(3, (code - 0x2800).bit_count())]
    plain = unicodedata.normalize("NFKD", character)[:1]
    width = cell_len(character)
    return (plain if plain.isascii() and plain.isprintable() else "?") * width if width else ""


class AsciiOnly(LineFilter):
    """The last of the app's filters."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(to_ascii(segment.text), segment.style, segment.control) for segment in segments]
