"""Blocks as rows, arms as columns: a page of pictures with a cursor; and one block large, its arms side by side or one in place.

Paged, never scrolled. Knows pictures and captions, not what was compared.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from PIL import Image
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Static

from negtui.output import clean
from negtui.widgets.image_view import ImageView, Picture

ROW_HEIGHT = 8
"""Rows that a block is given at least, its line of text included."""
MIN_WIDTH = 16
"""Columns that an arm is given at least."""


@dataclass(frozen=True)
class ArmRow:
    """One block: its line of text, and a picture for each arm."""

    caption: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Shown:
    """A picture of a session, or one in memory with a `key` that names its content; None: there is none."""

    picture: Picture | Image.Image | None
    words: str
    key: Hashable = None


class Column(Vertical):
    """A picture over, where it has one, a line of text."""

    DEFAULT_CSS = """
    Column { width: 1fr; height: 1fr; }
    Column > ImageView { height: 1fr; }
    Column > Static { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.view = ImageView()
        self.line = Static(markup=False)
        self._told: Text | None = None
        self._shown: Shown | None = None

    def compose(self) -> ComposeResult:
        yield self.view
        yield self.line

    def put(self, shown: Shown) -> None:
        """Show a picture, unless it is shown already."""
        before, self._shown = self._shown, shown
        if isinstance(shown.picture, Image.Image):
            if before is None or before.key != shown.key or not isinstance(before.picture, Image.Image):
                self.view.show(shown.picture, shown.key)
        elif shown.picture is None or (before is not None and isinstance(before.picture, Image.Image)):
            self.view.show(None)
            self.view.picture = shown.picture
        else:
            self.view.picture = shown.picture

    def tell(self, words: str, *, at_cursor: bool) -> None:
        """The line below: the cursor is a sign, not only a colour."""
        text = f"{'>' if at_cursor else ' '} {' '.join(clean(words).split())}"
        told = Text(text, style=Style(reverse=at_cursor, bold=at_cursor), no_wrap=True, overflow="ellipsis")
        if told != self._told or told.style != self._told.style:
            self._told = told
            self.line.update(told)


class Row(Vertical):
    """A block: its line of text over its arms."""

    DEFAULT_CSS = """
    Row { height: 1fr; width: 1fr; }
    Row > Static { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    Row > Horizontal { height: 1fr; }
    """

    def __init__(self, num_arms: int) -> None:
        super().__init__()
        self.line = Static(markup=False)
        self.columns = [Column() for _ in range(num_arms)]

    def compose(self) -> ComposeResult:
        yield self.line
        yield Horizontal(*self.columns)


class ArmGrid(Widget):
    """`show` rows with a cursor; as many rows and arms at once as there is room for."""

    DEFAULT_CSS = "ArmGrid { layout: vertical; width: 1fr; height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._arms: tuple[str, ...] = ()
        self._rows: Sequence[ArmRow] = ()
        self._at = (0, 0)
        self._built: list[Row] = []

    @property
    def page_size(self) -> int:
        """Blocks on a page."""
        return max(1, self.size.height // ROW_HEIGHT)

    @property
    def num_columns(self) -> int:
        """Arms beside each other."""
        return max(1, min(len(self._arms), self.size.width // MIN_WIDTH))

    def show(self, arms: Sequence[str], rows: Sequence[ArmRow], block: int, arm: int) -> None:
        """Show the page of `block`; what stays on it is not painted again."""
        self._arms, self._rows, self._at = tuple(arms), rows, (block, arm)
        if not self._arms or not self.size:
            return
        if len(self._built) != self.page_size or any(len(row.columns) != self.num_columns for row in self._built):
            self._rebuild()
        else:
            self._fill()

    def on_resize(self) -> None:
        if self._arms:
            self.show(self._arms, self._rows, *self._at)

    def _rebuild(self) -> None:
        for row in self._built:
            row.remove()
        self._built = [Row(self.num_columns) for _ in range(self.page_size)]
        self.mount_all(self._built)
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        block, arm = self._at
        first, left = block // self.page_size * self.page_size, arm // self.num_columns * self.num_columns
        for number, row in enumerate(self._built):
            if not row.is_mounted:
                continue
            at = first + number
            shown = self._rows[at] if at < len(self._rows) else None
            row.line.update(Text("" if shown is None else f" {' '.join(clean(shown.caption).split())}", no_wrap=True, overflow="ellipsis"))
            for place, column in enumerate(row.columns):
                which = left + place
                has = shown is not None and which < len(shown.pictures)
                column.visible = has
                column.view.picture = shown.pictures[which] if shown is not None and has else None
                if has:
                    column.tell(self._arms[which], at_cursor=(at, which) == self._at)


class BlockView(Horizontal):
    """One block large: its arms side by side, or all of them in the same place with one to be seen, so that the next is there at once."""

    DEFAULT_CSS = """
    BlockView { height: 1fr; width: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._columns: list[Column] = []
        self._in_place = False

    def on_resize(self) -> None:
        self._share()

    def _share(self) -> None:
        """Columns of one width: pictures beside each other are compared, so one is as large as the other."""
        for column in self._columns:
            column.styles.width = "1fr" if self._in_place else max(1, self.size.width // len(self._columns))

    @property
    def seen(self) -> list[Column]:
        """The columns in front."""
        return [column for column in self._columns if column.layer == self.styles.layers[-1]]

    async def show(self, shown: Sequence[Shown], at: int, *, in_place: bool) -> None:
        """Pictures with their lines; `at` is the one at the cursor, the only one to be seen where `in_place`."""
        while len(self._columns) > len(shown):
            await self._columns.pop().remove()
        added = [Column() for _ in range(len(shown) - len(self._columns))]
        self._columns += added
        if added:
            await self.mount(*added)
        # Each layer is laid out by itself: a layer an arm puts them all in the same place, the last layer in front.
        self._in_place = in_place
        self._share()
        self.styles.layers = cast("Any", tuple(f"arm{number}" for number in (*(other for other in range(len(shown)) if other != at), at)))
        for number, (column, one) in enumerate(zip(self._columns, shown, strict=True)):
            column.styles.layer = f"arm{number if in_place else at}"
            column.put(one)
            column.tell(one.words, at_cursor=number == at)
