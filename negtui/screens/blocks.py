"""The half of screen 4 that shows one block: its arms side by side, one in place, zoomed, as differences. Knows no sockets."""

from __future__ import annotations

import asyncio

from daemon.protocol.commands import ComparedCell
from negtui import comparing
from negtui.comparing import Looking
from negtui.screens.base import NegtuiScreen
from negtui.widgets.arm_grid import MIN_WIDTH, BlockView, Shown
from negtui.widgets.image_view import Picture

MAX_IN_PLACE = 8
"""Arms that are kept ready in the same place."""
WHOLE = 1 << 20
"""More pixels than a picture has: the picture itself, no thumbnail."""


class BlocksScreen(NegtuiScreen):
    """Subclasses compose a `BlockView`; the class `-block` says that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.looking = Looking()
        self.in_place = False
        self.is_difference = False

    def show_looking(self) -> None:
        """Everything that is looked at."""
        raise NotImplementedError

    def show_at(self) -> None:
        """What belongs to the cursor."""
        raise NotImplementedError

    async def show_block(self) -> None:
        """The arms that fit beside each other, or those that are kept ready in the same place."""
        looking, block = self.looking, self.looking.current
        if block is None:
            return
        view = self.query_one(BlockView)
        room = MAX_IN_PLACE if self.in_place else max(1, (view.size.width or self.size.width) // MIN_WIDTH)
        left = looking.arm // room * room
        arms = range(left, min(left + room, len(block.cells)))
        shown = await asyncio.gather(*(self._shown(block.cells[arm], arm) for arm in arms))
        await view.show(shown, looking.arm - left, in_place=self.in_place)

    async def _shown(self, cell: ComparedCell, arm: int) -> Shown:
        """A picture as it is, or where zoomed or compared made anew in a thread."""
        looking, words = self.looking, self._words(arm)
        block = looking.current
        is_compared = self.is_difference and arm != looking.pinned and block is not None
        if not looking.zoom and not is_compared:
            return Shown(picture(looking.session, cell), words)
        pictures = self.negtui.pictures
        found = await pictures.get(looking.session, cell.image.path, WHOLE)
        if found is None:
            return Shown(picture(looking.session, cell), words)
        image = found
        against = ""
        if is_compared and block is not None:
            against = block.cells[looking.pinned].image.path
            other = await pictures.get(looking.session, against, WHOLE)
            if other is None:
                return Shown(None, f"{words}: the pinned picture cannot be had")
            image, mean = await asyncio.to_thread(comparing.difference, image, other)
            words += f" - {looking.arms[looking.pinned].name}: {mean:.2f} of 255"
        image = await asyncio.to_thread(comparing.crop, image, looking.zoom, looking.centre)
        return Shown(image, words, (looking.session, cell.image.path, against, looking.zoom, looking.centre))

    def _words(self, arm: int) -> str:
        looking = self.looking
        pin = ", pinned" if arm == looking.pinned else ""
        zoom = f" x{2**looking.zoom}" if looking.zoom else ""
        return f"{looking.arms[arm].name}{pin}{zoom}"

    def has_block(self) -> bool:
        """Whether there is a block for a key to act on; where there is none, that is said."""
        if self.looking.current is None:
            self.negtui.say("No block has these words: esc shows all." if self.looking.every else "There is no comparison to look at yet.")
        return self.looking.current is not None

    def action_open(self) -> None:
        if self.has_block():
            self.toggle_class("-block")
            if not self.has_class("-block"):
                self.leave_block()
            self.show_at()

    def leave_block(self) -> None:
        self.remove_class("-block")
        self.looking.zoom_by(-comparing.MAX_ZOOM)
        self.is_difference = False
        self.show_looking()

    def action_flick(self) -> None:
        """In the grid it opens the block; there the next arm stands where the one before stood."""
        if not self.has_block():
            return
        was_there = self.has_class("-block") and self.in_place
        self.add_class("-block")
        self.in_place = True
        if was_there:
            self.looking.flick()
        self.show_at()

    def action_side(self) -> None:
        """In the grid it opens the block."""
        if not self.has_block():
            return
        if self.has_class("-block"):
            self.in_place = not self.in_place
        self.add_class("-block")
        self.show_at()

    def action_difference(self) -> None:
        if not self.has_block():
            return
        self.is_difference = not self.is_difference
        if self.is_difference:
            self.add_class("-block")
        self.show_at()

    def action_pin(self) -> None:
        if self.has_block():
            self.looking.pinned = self.looking.arm
            self.show_at()

    def action_zoom(self, by: int) -> None:
        if self.has_block():
            self.add_class("-block")
            self.looking.zoom_by(by)
            self.show_at()


def picture(session: str, cell: ComparedCell) -> Picture:
    request = cell.image.request
    return Picture(session, cell.image.path, request.width, request.height)
