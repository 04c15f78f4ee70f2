"""Many pictures as pages of tiles: a cursor, captions, marks in words. Only the tiles that are seen exist; ten thousand items cost a list.

Paged, never scrolled: scrolling would send every picture again at every row. Knows neither sessions nor what marks mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from PIL import Image
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.geometry import Region
from textual.message import Message
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import Static

from negtui.keys import bindings
from negtui.output import clean
from negtui.widgets.image_view import ImageView, Picture

TILE_COLUMNS = 20
TILE_ROWS = 10
MAX_TILES = 60


@dataclass(frozen=True)
class GridItem:
    """One tile. `mark` is a word or a sign that stands before the caption, e.g. `keep`; `picture` None: still to come."""

    key: Hashable
    picture: Picture | None
    caption: str = ""
    mark: str = ""


class Tile(Widget):
    """A picture over one line of text."""

    DEFAULT_CSS = """
    Tile { layout: vertical; }
    Tile > ImageView { height: 1fr; }
    Tile > Static { height: 1; width: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.view = ImageView()
        self.line = Static(markup=False)
        self._item: GridItem | None = None
        self._told = Text()

    def compose(self) -> ComposeResult:
        yield self.view
        yield self.line

    def put(self, item: GridItem | None, *, at_cursor: bool, preview: Image.Image | None = None) -> None:
        """Show an item, or nothing; what stays the same is not painted again."""
        before, self._item = self._item, item
        if self.visible is not (item is not None):
            self.visible = item is not None
        if item is None:
            self.view.picture = None
            return
        if item.picture is not None:
            self.view.picture = item.picture
        elif preview is not None:
            self.view.show(preview)
        elif before is None or before.key != item.key:
            self.view.show(None)
        told = caption(item, at_cursor=at_cursor)
        if told != self._told:
            self._told = told
            self.line.update(told, layout=False)


class ImageGrid(Widget, can_focus=True):
    """Give it `items`; it posts `Moved` and `Chosen` with their keys."""

    DEFAULT_CSS = """
    ImageGrid { layout: vertical; width: 1fr; height: 1fr; }
    ImageGrid > .tiles { layout: grid; grid-gutter: 0 1; height: 1fr; overflow: hidden hidden; }
    ImageGrid > .pages { height: 1; width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("grid")]

    items: var[Sequence[GridItem]] = var((), init=False, always_update=True)
    cursor: var[int] = var(0, init=False)

    class Moved(Message):
        """The cursor is on another item; `key` None: there is none."""

        def __init__(self, grid: ImageGrid, key: Hashable | None) -> None:
            super().__init__()
            self.grid = grid
            self.key = key

        @property
        def control(self) -> ImageGrid:
            return self.grid

    class Chosen(Moved):
        """Enter was pressed on an item, or it was clicked twice."""

    def __init__(
        self, items: Sequence[GridItem] = (), *, tile_columns: int = TILE_COLUMNS, tile_rows: int = TILE_ROWS, **named: Any
    ) -> None:
        super().__init__(**named)
        self.tile_size = (tile_columns, tile_rows)
        self._shape = (0, 0)
        self._tiles: list[Tile] = []
        self._area = Container(classes="tiles")
        self._pages = Static(classes="pages", markup=False)
        self._previews: dict[Hashable, Image.Image] = {}
        self.set_reactive(ImageGrid.items, items)

    @property
    def current(self) -> GridItem | None:
        """The item under the cursor."""
        return self.items[self.cursor] if 0 <= self.cursor < len(self.items) else None

    @property
    def page_size(self) -> int:
        """How many items a page holds."""
        return max(1, self._shape[0] * self._shape[1])

    @property
    def page(self) -> int:
        """The page of the cursor, from 0."""
        return self.cursor // self.page_size

    @property
    def shown(self) -> Sequence[GridItem]:
        """The items of this page."""
        return self.items[self.page * self.page_size : (self.page + 1) * self.page_size]

    def compose(self) -> ComposeResult:
        yield self._area
        yield self._pages

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """It draws nothing itself, and where it gains or loses the focus its tiles say so: their pictures need not be drawn anew."""
        return super().refresh(*regions, repaint=False, layout=layout, recompose=recompose)

    def go_to(self, key: Hashable) -> bool:
        """Put the cursor on an item; False where there is none of that key."""
        for index, item in enumerate(self.items):
            if item.key == key:
                self.cursor = index
                return True
        return False

    def preview(self, key: Hashable, image: Image.Image) -> None:
        """Show a picture that is being painted in the tile of an item that has none yet."""
        self._previews = {key: image}
        self._fill()

    async def on_resize(self) -> None:
        width, height = self._area.size
        columns = max(1, (width + 1) // (self.tile_size[0] + 1))
        rows = max(1, height // (self.tile_size[1] + 1))
        while columns * rows > MAX_TILES:
            rows -= 1
        if (columns, rows) == self._shape:
            return
        self._shape = columns, rows
        self._area.styles.grid_size_columns = columns
        self._area.styles.grid_size_rows = rows
        for tile in self._tiles[self.page_size :]:
            await tile.remove()
        added = [Tile() for _ in range(self.page_size - len(self._tiles))]
        self._tiles = [*self._tiles[: self.page_size], *added]
        if added:
            await self._area.mount(*added)
        self._fill()

    def validate_cursor(self, cursor: int) -> int:
        return max(0, min(cursor, len(self.items) - 1))

    def watch_items(self, before: Sequence[GridItem], items: Sequence[GridItem]) -> None:
        """The cursor stays on its item, else at its place."""
        key = before[self.cursor].key if 0 <= self.cursor < len(before) else None
        at = self.cursor if 0 <= self.cursor < len(items) and items[self.cursor].key == key else None
        if at is None:
            at = next((index for index, item in enumerate(items) if item.key == key), min(self.cursor, max(0, len(items) - 1)))
        self.set_reactive(ImageGrid.cursor, at)
        current = self.current
        if (current.key if current else None) != key:
            self.post_message(self.Moved(self, current.key if current else None))
        self._fill()

    def watch_cursor(self, before: int, cursor: int) -> None:
        self._fill()
        if self.current is not None:
            self.post_message(self.Moved(self, self.current.key))

    def on_focus(self) -> None:
        self._fill()

    def on_blur(self) -> None:
        self._fill()

    def on_click(self, event: Any) -> None:
        tile = next((tile for tile in self._tiles if tile is event.widget or tile in event.widget.ancestors), None)
        if tile is not None and tile.visible:
            self.cursor = self.page * self.page_size + self._tiles.index(tile)
            if event.chain == 2:
                self.action_choose()

    def action_move(self, by: int) -> None:
        self.cursor += by

    def action_row(self, by: int) -> None:
        """A row up or down; at the edge to the next page."""
        target = self.cursor + by * self._shape[0]
        if 0 <= target < len(self.items):
            self.cursor = target
        elif by > 0 and self.items:
            self.cursor = len(self.items) - 1

    def action_page(self, by: int) -> None:
        self.cursor += by * self.page_size

    def action_top(self) -> None:
        self.cursor = 0

    def action_bottom(self) -> None:
        self.cursor = len(self.items) - 1

    def action_choose(self) -> None:
        self.post_message(self.Chosen(self, self.current.key if self.current is not None else None))

    def _fill(self) -> None:
        """Bring the tiles up to date; those whose item stays are left alone."""
        shown, first = self.shown, self.page * self.page_size
        self._previews = {key: image for key, image in self._previews.items() if any(item.key == key for item in shown)}
        for number, tile in enumerate(self._tiles):
            item = shown[number] if number < len(shown) else None
            preview = self._previews.get(item.key) if item is not None else None
            tile.put(item, at_cursor=first + number == self.cursor, preview=preview)
        if self._pages.is_mounted:
            self._pages.update(self._page_words(first, len(shown)), layout=False)

    def _page_words(self, first: int, number: int) -> str:
        if not self.items:
            return "no pictures"
        num_pages = -(-len(self.items) // self.page_size)
        return f"page {self.page + 1} of {num_pages} · {first + 1:,} to {first + number:,} of {len(self.items):,}"


def caption(item: GridItem, *, at_cursor: bool) -> Text:
    """`> keep · blurry`: the cursor is a sign, not only a colour; the mark comes first."""
    words = " · ".join(part for part in (_plain(item.mark), _plain(item.caption)) if part)
    return Text(f"{'>' if at_cursor else ' '} {words}", style=Style(reverse=at_cursor, bold=at_cursor), no_wrap=True, overflow="ellipsis")


def _plain(text: str) -> str:
    return " ".join(clean(text).split())
