"""A job's log: lines with their times, followed as they come, filtered by letters and by level. Knows no jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from negtui.keys import bindings
from negtui.output import clean
from negtui.view import Line
from negtui.widgets.cut import cut, wrap

LEVELS = (("info", "warning", "error", "event"), ("warning", "error"), ("error",))
LEVEL_WORDS = ("all lines", "warnings and errors", "errors")
_SIGNS = {"warning": "WARNING ", "error": "ERROR ", "info": "", "event": ""}


class LogPane(ScrollView, can_focus=True):
    """Follows until one moves up; `G` follows again. Long lines are broken, not cut."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--info", "log--event", "log--warning", "log--error"}
    DEFAULT_CSS = """
    LogPane { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }
    LogPane > .log--event { text-style: dim; }
    LogPane > .log--warning { text-style: bold; color: $text-warning; }
    LogPane > .log--error { text-style: bold; color: $text-error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("log")]
    is_following: reactive[bool] = reactive(True)
    level: reactive[int] = reactive(0)
    filter: reactive[str] = reactive("")

    class FilterAsked(Message):
        """The person wants to type a filter."""

    class FullAsked(Message):
        """The person wants the log over the whole screen, or back."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Sequence[Line] = ()
        self._rows: list[tuple[str, str]] = []
        """(level, text) of each row on the screen's width."""
        self._taken: tuple[int, Line | None, int] = (0, None, 0)
        """How many lines were laid out, the last of them, and for which width."""

    def show(self, lines: Sequence[Line]) -> None:
        """These lines; where they only grew, only the new ones are laid out."""
        width = self._width
        count, last, laid = self._taken
        if laid == width and lines and count and len(lines) >= count and lines[count - 1] is last and lines[0] is self._first:
            fresh = lines[count:]
            if not fresh:
                return
        else:
            self._rows, fresh = [], lines
        self._lines, self._first = lines, lines[0] if lines else None
        self._taken = (len(lines), lines[-1] if lines else None, width)
        before = len(self._rows)
        for line in fresh:
            self._rows.extend(self._laid_out(line, width))
        if len(self._rows) != before or not fresh:
            self._settle()

    _first: Line | None = None

    @property
    def words(self) -> str:
        """What is shown, for a heading."""
        parts = [LEVEL_WORDS[self.level], "following" if self.is_following else "not following: G follows"]
        if self.filter:
            parts.insert(0, f"with {self.filter!r}")
        return ", ".join(parts)

    @property
    def _width(self) -> int:
        return max(10, self.scrollable_content_region.width or self.size.width)

    def _laid_out(self, line: Line, width: int) -> list[tuple[str, str]]:
        text = f"{_SIGNS[line.level]}{' '.join(clean(line.text).split())}"
        if line.level not in LEVELS[self.level] or self.filter.lower() not in text.lower():
            return []
        return [(line.level, row) for row in wrap(f"{datetime.fromtimestamp(line.time):%H:%M:%S} {text}", width, indent=9)]

    def _settle(self) -> None:
        self.virtual_size = Size(0, len(self._rows))
        if self.is_following:
            self.scroll_end(animate=False, immediate=True, force=True, x_axis=False)
        self.refresh()

    def _relay(self) -> None:
        self._taken = (0, None, 0)
        self.show(self._lines)

    def on_resize(self) -> None:
        self._relay()

    def watch_level(self) -> None:
        self._relay()

    def watch_filter(self) -> None:
        self._relay()

    def render_line(self, y: int) -> Strip:
        width = self._width
        number = y + self.scroll_offset.y
        base = self.rich_style
        if number >= len(self._rows):
            words = "nothing yet" if not self._lines else "no line is like that" if not self._rows else ""
            return Strip([Segment(cut(words if y == 0 else "", width), base + Style(dim=True))], width)
        level, text = self._rows[number]
        return Strip([Segment(cut(text, width), base + self.get_component_rich_style(f"log--{level}", partial=True))], width)

    def action_up(self) -> None:
        self._scroll(-1)

    def action_down(self) -> None:
        self._scroll(1)

    def action_page_up(self) -> None:
        self._scroll(1 - self.size.height)

    def action_page_down(self) -> None:
        self._scroll(self.size.height - 1)

    def action_top(self) -> None:
        self.is_following = False
        self.scroll_to(y=0, animate=False, force=True)

    def action_bottom(self) -> None:
        self.is_following = True
        self.scroll_end(animate=False, force=True, x_axis=False)

    def action_level(self) -> None:
        self.level = (self.level + 1) % len(LEVELS)

    def action_filter(self) -> None:
        self.post_message(self.FilterAsked())

    def action_full(self) -> None:
        self.post_message(self.FullAsked())

    def action_found(self, way: int) -> None:
        """To the next warning or error that is not the top row."""
        top = self.scroll_offset.y
        numbers = [number for number, (level, _) in enumerate(self._rows) if level in ("warning", "error")]
        wanted = [number for number in numbers if (number - top) * way > 0]
        if wanted:
            self.is_following = False
            self.scroll_to(y=min(wanted) if way > 0 else max(wanted), animate=False, force=True)
        else:
            self.notify(f"No warning or error {'below' if way > 0 else 'above'}.", markup=False)

    def on_mouse_scroll_up(self) -> None:
        self.is_following = False

    def _scroll(self, rows: int) -> None:
        if rows < 0:
            self.is_following = False
        self.scroll_relative(y=rows, animate=False, force=True)
