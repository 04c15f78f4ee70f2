"""One picture, as well as the terminal can: half-blocks at once, kitty or sixel pixels in their place when they have been sent.

Fetching, encoding and sending go on beside the keys. Captions are not its job. Knows pictures of sessions and pictures in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, cast

from PIL import Image
from rich.segment import Segment
from textual.errors import NoWidget
from textual.geometry import Region, Size
from textual.reactive import var
from textual.strip import Strip
from textual.widget import Widget

from negtui.output import clean
from negtui.pixels import kitty
from negtui.pixels.base import Colours, fit
from negtui.pixels.half import half_rows
from negtui.pixels.painter import Painter
from negtui.pixels.pictures import Pictures
from negtui.widgets.drawn import Drawn
from negtui.widgets.lean_strip import LeanStrip

COARSE = 4
"""Cells a side of a preview's blocks over SSH: it stands for a moment only."""
SETTLE_SECONDS = 0.15
"""How long a size must have stayed before pixels are sent for it."""


class Picture(NamedTuple):
    """A picture of a session. `width` and `height` in pixels; 0: known when it has been fetched."""

    session: str
    path: str
    width: int = 0
    height: int = 0


class ImageView(Widget, inherit_bindings=False):
    """Shows `picture`, or what `show` was given, as large as fits, in its middle."""

    DEFAULT_CSS = "ImageView { width: 1fr; height: 1fr; }"

    picture: var[Picture | None] = var(None, init=False)

    def __init__(self, picture: Picture | None = None, **named: Any) -> None:
        super().__init__(**named)
        self._image: Image.Image | None = None
        self._key: Hashable = None
        self._drawn = Drawn()
        self._written: set[int] = set()
        self._token = object()
        self._words = ""
        self._is_stale = False
        self._begun_size = Size()
        self._end_listening: Callable[[], None] = _nothing
        self.set_reactive(ImageView.picture, picture)

    @property
    def pictures(self) -> Pictures | None:
        """The app's pictures."""
        return getattr(self.app, "pictures", None)

    @property
    def painter(self) -> Painter | None:
        pictures = self.pictures
        return None if pictures is None else pictures.painter

    @property
    def drawn(self) -> str:
        """What stands on the screen now: `kitty`, `sixel`, `half`, or empty."""
        return self._drawn.backend

    @property
    def is_settled(self) -> bool:
        """Whether the picture stands on the screen, or why it does not."""
        return bool(self.drawn or self._words)

    def show(self, image: Image.Image | None, key: Hashable = None) -> None:
        """Show a picture that is in memory, e.g. a preview; `key` names its content, so that it is not sent twice."""
        self.set_reactive(ImageView.picture, None)
        self._image, self._key = image, key if key is not None else object()
        self._begin()

    async def fetch_ahead(self, picture: Picture) -> None:
        """Have a picture in memory that will be shown here next, at the size that it is shown at."""
        if self.pictures is not None and self.painter is not None and self.painter.backend != "off":
            await self.pictures.get(picture.session, picture.path, self._wanted_pixels())

    def watch_picture(self, picture: Picture | None) -> None:
        self._image, self._key = None, None
        self._begin()

    def on_mount(self) -> None:
        if self.painter is not None:
            self._end_listening = self.painter.listen(self._begin)

    def on_unmount(self) -> None:
        self._end_listening()
        self._drop()

    def on_resize(self) -> None:
        self._begin(settle=SETTLE_SECONDS if self._drawn.place != (0, 0) else 0.0)

    def _catch_up(self) -> None:
        """Draw at a size that nobody told of: what becomes visible may get one so."""
        if self._begun_size != self.size:
            self._begin()

    def render_line(self, y: int) -> Strip:
        columns, rows = self._drawn.place
        left, top = self._corner()
        background = self.rich_style
        row = y - top
        if self._words and y == self.size.height // 2:
            text = self._words[: self.size.width].center(self.size.width)
            return Strip([Segment(text, background)]).adjust_cell_length(self.size.width, background)
        if not 0 <= row < rows:
            return Strip.blank(self.size.width, background)
        middle = self._drawn.segments(row, background)
        margins = Segment(" " * left, background), Segment(" " * (self.size.width - left - columns), background)
        return Strip([segment for segment in (margins[0], *middle, margins[1]) if segment.text], self.size.width)

    def render_lines(self, crop: Region) -> list[Strip]:
        if self._is_stale and self.screen is self.app.screen:
            self._is_stale = False
            self.call_later(self._begin)
        elif self._begun_size != self.size:
            self.call_later(self._catch_up)
        short = self._drawn.sent is None
        return [
            LeanStrip(strip._segments, strip.cell_length, partial(self._note_written, crop.y + number), short=short)
            for number, strip in enumerate(super().render_lines(crop))
        ]

    def _corner(self) -> tuple[int, int]:
        columns, rows = self._drawn.place
        return (self.size.width - columns) // 2, (self.size.height - rows) // 2

    def _begin(self, settle: float = 0.0) -> None:
        """Draw anew: at once where the terminal has the picture, else step by step in a worker."""
        self._token = object()
        self._begun_size = self.size
        if not self.is_mounted or not self.size or self.painter is None:
            return
        self._is_stale = self.screen is not self.app.screen
        if self._is_stale:
            # Nobody sees it: it is sent when its screen is shown again.
            self._drop()
            return
        if not self._draw_known():
            self.refresh()
            if self.picture is not None or self._image is not None:
                # Called when its turn comes: one that is overtaken before leaves no coroutine behind.
                paint = cast("Any", partial(self._paint, self._token, settle))
                self.run_worker(paint, group="paint", exclusive=True, exit_on_error=True)

    def _draw_known(self) -> bool:
        """Draw what the terminal already has; False where it has not."""
        painter = self.painter
        size = self._pixels()
        self._drop()
        if painter is None or size is None or painter.backend not in ("kitty", "sixel"):
            return False
        place = self._fit(*size)
        if painter.backend == "sixel":
            self._drawn.take_bands(painter.find_bands(self._content_key(), *place))
        else:
            sent = painter.find_kitty(self._content_key(), *place)
            if sent is not None:
                self._drawn.hold(sent)
        if self._drawn.sent is None and not self._drawn.bands:
            return False
        self._drawn.place = place
        self.refresh()
        return True

    async def _paint(self, token: object, settle: float) -> None:
        painter, image = self.painter, await self._load()
        if painter is None or token is not self._token:
            return
        if image is None:
            return self._say(_reason(self.pictures, self.picture))
        if painter.backend == "off":
            return self._say("pictures are off")
        self._drawn.place = columns, rows = self._fit(image.width, image.height)
        choice = painter.choice
        is_preview = painter.backend != "half"
        is_coarse = is_preview and choice.over_ssh and choice.colours == "truecolor"
        colours: Colours = "256" if is_coarse else choice.colours
        coarse = COARSE if is_coarse else 1
        half = await asyncio.to_thread(half_rows, image, columns, rows, colours, ascii=choice.ascii, coarse=coarse)
        if token is not self._token:
            return
        self._drawn.rows = half
        self.refresh()
        if is_preview:
            await asyncio.sleep(settle)
            await self._send(token, painter, image)

    async def _send(self, token: object, painter: Painter, image: Image.Image) -> None:
        """The better backend, in the place of the half-blocks."""
        columns, rows = self._drawn.place

        def wanted() -> bool:
            return token is self._token

        if not wanted():
            return
        if painter.backend == "kitty":
            sent = await painter.send_kitty(self._content_key(), image, columns, rows, wanted)
            if sent is not None and wanted() and painter.is_shown(sent):
                self._drawn.hold(sent)
                self.refresh()
        elif painter.backend == "sixel":
            found = await painter.sixel_bands(self._content_key(), image, columns, rows)
            if wanted():
                self._drawn.take_bands(found)
                self.refresh()

    async def _load(self) -> Image.Image | None:
        if self._image is not None:
            return self._image
        if self.picture is None or self.pictures is None:
            return None
        return await self.pictures.get(self.picture.session, self.picture.path, self._wanted_pixels())

    def _wanted_pixels(self) -> int:
        """Pixels of the longer side that can be seen."""
        assert self.painter is not None
        cell = self.painter.choice.cell
        width, height = self.size.width * cell.width, self.size.height * cell.height
        if self.picture is not None and self.picture.width and self.picture.height:
            columns, rows = self._fit(self.picture.width, self.picture.height)
            width, height = columns * cell.width, rows * cell.height
        if self.painter.backend == "half":
            width, height = width // cell.width, 2 * height // cell.height
        return max(width, height)

    def _pixels(self) -> tuple[int, int] | None:
        """Width and height of what is shown, where they are known."""
        if self._image is not None:
            return self._image.size
        if self.picture is None or not (self.picture.width and self.picture.height):
            return None
        return self.picture.width, self.picture.height

    def _content_key(self) -> Hashable:
        return self._key if self.picture is None else (self.picture.session, self.picture.path)

    def _fit(self, width: int, height: int) -> tuple[int, int]:
        assert self.painter is not None
        columns, rows = fit(width, height, self.size.width, self.size.height, self.painter.choice.cell)
        return min(columns, kitty.MAX_CELLS), min(rows, kitty.MAX_CELLS)

    def _say(self, words: str) -> None:
        self._words = " ".join(clean(words).split())
        self.refresh()

    def _drop(self) -> None:
        self._drawn.drop()
        self._words = ""

    def _note_written(self, y: int) -> None:
        """A row of ours was written: the sixel pixels that stood there are gone."""
        if self._drawn.bands:
            if not self._written:
                self.call_later(self._overlay)
            self._written.add(y - self._corner()[1])

    def _overlay(self) -> None:
        """Send the bands of the rows that were written; half-blocks instead while something covers the picture."""
        written, self._written = self._written, set()
        painter, token, drawn = self.painter, self._token, self._drawn
        if painter is None or not drawn.bands:
            return
        left, top = self._corner()
        x, y = self.content_region.x + left, self.content_region.y + top
        covered = not _stands_free(self, x, y, *drawn.place)
        if covered != drawn.is_covered:
            drawn.is_covered = covered
            self.refresh()
        elif not covered:
            painter.send_bands(drawn.bands_at(written), x, y, lambda: token is self._token and not drawn.is_covered)


def _stands_free(widget: Widget, x: int, y: int, columns: int, rows: int) -> bool:
    """Whether this part of the screen is the widget's from corner to corner, with nothing before it."""
    if widget.screen is not widget.app.screen or not widget.is_on_screen:
        return False
    points = ((x, y), (x + columns - 1, y), (x, y + rows - 1), (x + columns - 1, y + rows - 1), (x + columns // 2, y + rows // 2))
    with suppress(NoWidget):
        return all(widget.screen.get_widget_at(*point)[0] is widget for point in points)
    return False


def _reason(pictures: Pictures | None, picture: Picture | None) -> str:
    """Why a picture is not there, in words."""
    if picture is None or pictures is None:
        return ""
    return pictures.reason(picture.session, picture.path) or "no picture"


def _nothing() -> None: ...
