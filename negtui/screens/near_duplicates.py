"""The part of screen 2 that finds near-duplicates among what is shown, and goes through them group by group."""

from __future__ import annotations

import asyncio

from daemon.protocol.specs import ImageRecord
from negtui.curation import difference_hash, near_duplicates
from negtui.output import quantity
from negtui.screens.beside import beside
from negtui.screens.curating import CuratingScreen

HASH_PIXELS = 64
NUM_HASHED_AT_ONCE = 8
SAY_EVERY = 512


class NearDuplicatesScreen(CuratingScreen):
    """Near-duplicates are a group in the grid."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[tuple[str, ...]] = []
        self._hashes: dict[str, int] = {}

    def forget_duplicates(self) -> None:
        """The groups and hashes are those of other pictures."""
        self.groups = []
        self._hashes.clear()

    def action_duplicates(self) -> None:
        if self.gallery.group in self.groups:
            self._show_group(self.groups[(self.groups.index(self.gallery.group) + 1) % len(self.groups)])
        elif self.gallery.session:
            beside(self, self._find_duplicates, "duplicates")

    def _show_group(self, group: tuple[str, ...]) -> None:
        self.gallery.group = group
        self.show_shown()
        self.grid.cursor = 0

    async def _find_duplicates(self) -> None:
        """Hash the thumbnails of what is shown, those not hashed before, and show the first group."""
        gallery, records = self.gallery, list(self.gallery.shown)
        missing = [record for record in records if record.id not in self._hashes]
        for start in range(0, len(missing), NUM_HASHED_AT_ONCE):
            if start and start % SAY_EVERY == 0:
                self.negtui.say(f"{start} of {len(missing)} pictures looked at.")
            await asyncio.gather(*(self._hash(gallery.session, record) for record in missing[start : start + NUM_HASHED_AT_ONCE]))
        hashes = {record.id: self._hashes[record.id] for record in records if record.id in self._hashes}
        groups = await asyncio.to_thread(near_duplicates, hashes)
        if gallery is not self.gallery:
            return
        self.groups = groups
        if self.groups:
            self._show_group(self.groups[0])
        else:
            self.negtui.say(f"No near-duplicates among {quantity(len(hashes), 'picture')}.")

    async def _hash(self, session: str, record: ImageRecord) -> None:
        image = await self.negtui.pictures.get(session, record.path, HASH_PIXELS)
        if image is not None:
            self._hashes[record.id] = await asyncio.to_thread(difference_hash, image)
