"""Text in a number of cells: cut or filled, wide characters counted as two. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size


def cut(text: str, width: int) -> str:
    """`text` in exactly `width` cells; the end is `..` where some is left out."""
    if width <= 0:
        return ""
    if cell_len(text) > width and width > 4:
        return set_cell_size(text, width - 2) + ".."
    return set_cell_size(text, width)


def whole_words(words: Sequence[str], width: int) -> str:
    """As many of the first `words` as fit whole, with a space before each."""
    line = ""
    for word in words:
        if cell_len(line) + 1 + cell_len(word) > width:
            break
        line += f" {word}"
    return line


def wrap(text: str, width: int, indent: int = 0) -> Iterator[str]:
    """Lines of at most `width` cells, broken between words where that can be; all but the first begin with `indent` spaces."""
    room, pad = max(1, width), ""
    line = ""
    for word in text.split(" "):
        while True:
            longer = f"{line} {word}" if line.strip() else f"{line}{word}"
            if cell_len(longer) <= room:
                line = longer
                break
            if line.strip():
                yield line
            else:
                head = _head(word, room - len(pad))
                yield pad + head
                word = word[len(head) :]
            pad = " " * min(indent, max(0, room - 8))
            line = pad
    yield line


def _head(word: str, width: int) -> str:
    """As many of the first characters as fit; at least one."""
    used = 0
    for number, character in enumerate(word):
        used += cell_len(character)
        if used > width:
            return word[: max(1, number)]
    return word
