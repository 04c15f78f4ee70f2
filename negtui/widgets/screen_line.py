"""The first line: the six screens with their numbers, the one that is shown marked."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from negtui.keys import SCREENS, TITLES


class ScreenLine(Static):
    """One row; a click on a name goes there."""

    DEFAULT_CSS = "ScreenLine { height: 1; background: $panel; color: $foreground-muted; }"

    def __init__(self, current: str) -> None:
        super().__init__(screens_text(current), markup=False)


def screens_text(current: str) -> Text:
    """`1 Sessions  2 Dataset  ...`; the current one in brackets too, so that it is seen without colours."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, name in enumerate(SCREENS, start=1):
        word = f"[{number} {TITLES[name]}]" if name == current else f" {number} {TITLES[name]} "
        style = "bold reverse" if name == current else ""
        text.append(word, style=style)
    return text
