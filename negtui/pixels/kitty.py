"""Kitty's graphics protocol: pictures sent under an id, drawn by Unicode placeholders as text. Pure: bytes and text out, nothing written.

Source: https://sw.kovidgoyal.net/kitty/graphics-protocol/ ("Unicode placeholders", "Remote client").
"""

from __future__ import annotations

import base64

from negtui.pixels.base import through_tmux

PLACEHOLDER = "\U0010eeee"
CHUNK = 4096
"""Bytes of base64 in one command, as the protocol says."""
PIECE = 16_384
"""About how many bytes go out in one write: keys are painted between two."""
MAX_CELLS = 256

_MARKS = (
    "305 30D-30E 310 312 33D-33F 346 34A-34C 350-352 357 35B 363-36F 483-487 592-595 597-599 59C-5A1 5A8-5A9 5AB-5AC 5AF 5C4 610-617 "
    "657-65B 65D-65E 6D6-6DC 6DF-6E2 6E4 6E7-6E8 6EB-6EC 730 732-733 735-736 73A 73D 73F-741 743 745 747 749-74A 7EB-7F1 7F3 816-819 "
    "81B-823 825-827 829-82D 951 953-954 F82-F83 F86-F87 135D-135F 17DD 193A 1A17 1A75-1A7C 1B6B 1B6D-1B73 1CD0-1CD2 1CDA-1CDB 1CE0 "
    "1DC0-1DC1 1DC3-1DC9 1DCB-1DCC 1DD1-1DE6 1DFE 20D0-20D1 20D4-20D7 20DB-20DC 20E1 20E7 20E9 20F0 2CEF-2CF1 2DE0-2DFF A66F "
    "A67C-A67D A6F0-A6F1 A8E0-A8F1"
)
"""Combining marks of class 230 in Unicode 6.0 without decomposition: the nth means row or column n."""


def _expand(ranges: str) -> tuple[str, ...]:
    marks: list[str] = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        marks += (chr(code) for code in range(int(first, 16), int(last or first, 16) + 1))
    return tuple(marks)


MARKS = _expand(_MARKS)


def transmit(id: int, png: bytes, columns: int, rows: int, *, in_tmux: bool = False) -> list[bytes]:
    """Pieces that give the terminal a PNG under `id` (1 to 2**24 - 1) and a virtual placement of `columns` x `rows` cells for it."""
    payload = base64.standard_b64encode(png)
    chunks = [payload[start : start + CHUNK] for start in range(0, len(payload), CHUNK)] or [b""]
    commands = []
    for number, chunk in enumerate(chunks):
        more = int(number < len(chunks) - 1)
        head = b"a=t,f=100,t=d,i=%d,q=2,m=%d" % (id, more) if number == 0 else b"m=%d,q=2" % more
        commands.append(_command(head, chunk, in_tmux))
    commands.append(place(id, columns, rows, in_tmux=in_tmux))
    return join_pieces(commands)


def place(id: int, columns: int, rows: int, *, in_tmux: bool = False) -> bytes:
    """The command that says over how many cells the picture `id` is stretched; said again, it replaces what was."""
    return _command(b"a=p,U=1,i=%d,p=1,c=%d,r=%d,q=2" % (id, columns, rows), b"", in_tmux)


def delete(id: int, *, in_tmux: bool = False) -> bytes:
    """The command that frees a picture in the terminal."""
    return _command(b"a=d,d=I,i=%d,q=2" % id, b"", in_tmux)


def placeholder_rows(columns: int, rows: int) -> list[str]:
    """The text of each row: row and column on every cell, so that a dialog in the middle breaks nothing.

    Its foreground colour must be `id_colour` of the picture. At most 256 x 256 cells.
    """
    columns, rows = min(columns, MAX_CELLS), min(rows, MAX_CELLS)
    return ["".join(PLACEHOLDER + MARKS[row] + MARKS[column] for column in range(columns)) for row in range(rows)]


def id_colour(id: int) -> tuple[int, int, int]:
    """The foreground colour (red, green, blue) by which a placeholder names its picture."""
    return id >> 16 & 255, id >> 8 & 255, id & 255


def join_pieces(commands: list[bytes], size: int = PIECE) -> list[bytes]:
    """Whole commands put together to pieces of about `size` bytes."""
    pieces: list[bytes] = []
    current = bytearray()
    for command in commands:
        if current and len(current) + len(command) > size:
            pieces.append(bytes(current))
            current.clear()
        current += command
    return [*pieces, bytes(current)] if current else pieces


def _command(keys: bytes, payload: bytes, in_tmux: bool) -> bytes:
    command = b"\x1b_G" + keys + (b";" + payload if payload else b"") + b"\x1b\\"
    return through_tmux(command) if in_tmux else command
