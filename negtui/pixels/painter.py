"""Draws pictures on one terminal: which backend, what was sent, what is still wanted. Encodes in threads; knows no widget."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

from PIL import Image

from negtui.pixels import kitty
from negtui.pixels.base import Backend, Choice, Sender
from negtui.pixels.payload import local_png, small_png
from negtui.pixels.sixel import SSH_COLOURS, Band, bands
from negtui.pixels.store import Sent, TerminalStore

MAX_ENCODINGS = 2
MAX_BAND_BYTES = 16_000_000
"""Of encoded sixel pictures that are kept: nothing a terminal keeps for us."""


class Painter:
    """The pictures of one terminal. Without a sender (tests without a terminal, a browser) only half-blocks are drawn."""

    def __init__(self, choice: Choice | None = None) -> None:
        self.choice = choice or Choice()
        self.last_bytes = 0
        """How many bytes the last picture took that was sent."""
        self.num_bytes = 0
        self._backend = self.choice.backend
        self._sender: Sender | None = None
        self._store = TerminalStore(self.choice.cell.width * self.choice.cell.height)
        self._bands: OrderedDict[tuple[Hashable, int, int], list[Band]] = OrderedDict()
        self._listeners: list[Callable[[], None]] = []
        self._encodings = asyncio.Semaphore(MAX_ENCODINGS)
        self._sending: dict[tuple[Hashable, int, int], asyncio.Task[Sent | None]] = {}

    @property
    def backend(self) -> Backend:
        """The backend in force: kitty and sixel need a way to the terminal."""
        return "half" if self._sender is None and self._backend in ("kitty", "sixel") else self._backend

    def connect(self, sender: Sender) -> None:
        """Take a way to the terminal, which has no picture yet."""
        self._sender = sender
        self.resend()

    def cycle(self) -> Backend:
        """The next backend that this terminal has."""
        available = self.choice.available
        position = available.index(self._backend) if self._backend in available else -1
        self._backend = available[(position + 1) % len(available)]
        self.resend()
        return self.backend

    def resend(self) -> None:
        """Forget what was sent; everything shown is drawn again."""
        self._store.forget()
        for listener in list(self._listeners):
            listener()

    def leave(self) -> str:
        """What frees the terminal's memory of every picture; written when the screen is left."""
        sent = self._store.all() if self.backend == "kitty" else []
        self._store.forget()
        return b"".join(kitty.delete(one.id, in_tmux=self.choice.in_tmux) for one in sent).decode()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when pictures must be drawn again; returns what ends that."""
        self._listeners.append(listener)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return end

    async def send_kitty(
        self, key: Hashable, image: Image.Image, columns: int, rows: int, wanted: Callable[[], bool] = lambda: True
    ) -> Sent | None:
        """See that the terminal has the picture for a place of this size; None where it was not wanted any more.

        The caller counts itself as a user of it (`num_users`) as long as it shows it.
        """
        found = self.find_kitty(key, columns, rows)
        if found is not None:
            return found
        place = (key, columns, rows)
        if place not in self._sending:
            self._sending[place] = asyncio.create_task(self._send_kitty(key, image, columns, rows, wanted))
            self._sending[place].add_done_callback(lambda _: self._sending.pop(place, None))
        return await asyncio.shield(self._sending[place])

    def find_kitty(self, key: Hashable, columns: int, rows: int) -> Sent | None:
        """The picture, where the terminal has it; it may be placed anew, which takes a line of bytes."""
        found = self._store.find(key, columns, rows)
        if found is None:
            return None
        if found[1]:
            self._tell([kitty.place(found[0].id, columns, rows, in_tmux=self.choice.in_tmux)])
        return found[0]

    def is_shown(self, sent: Sent) -> bool:
        """Whether the terminal still has it."""
        return self._store.has(sent)

    async def sixel_bands(self, key: Hashable, image: Image.Image, columns: int, rows: int) -> list[Band]:
        """The picture in bands, encoded in a thread, or those of the last time."""
        colours = min(self.choice.sixel_colours, SSH_COLOURS if self.choice.over_ssh else 256)
        async with self._encodings:
            found = await asyncio.to_thread(bands, image, columns, rows, self.choice.cell, colours=colours)
        self._bands[key, columns, rows] = found
        while sum(len(band.content) for kept in self._bands.values() for band in kept) > MAX_BAND_BYTES and len(self._bands) > 1:
            self._bands.popitem(last=False)
        return found

    def find_bands(self, key: Hashable, columns: int, rows: int) -> list[Band]:
        """The bands of a picture that was encoded for this place before; none where it was not."""
        found = self._bands.get((key, columns, rows), [])
        if found:
            self._bands.move_to_end((key, columns, rows))
        return found

    def send_bands(self, found: Sequence[Band], column: int, row: int, wanted: Callable[[], bool]) -> None:
        """Draw bands with the picture's left top cell at (`column`, `row`), counted from 0."""
        for band in found:
            # The cursor is where it was afterwards: Textual counts on nothing else.
            self._tell([b"\x1b7\x1b[%d;%dH" % (row + band.top + 1, column + 1) + band.content + b"\x1b8"], wanted)
        self.last_bytes = sum(len(band.content) for band in found) or self.last_bytes

    async def _send_kitty(self, key: Hashable, image: Image.Image, columns: int, rows: int, wanted: Callable[[], bool]) -> Sent | None:
        encode = small_png if self.choice.over_ssh else local_png
        async with self._encodings:
            if not wanted():
                return None
            png = await asyncio.to_thread(encode, image, columns, rows, self.choice.cell)
        sent = self._store.add(key, columns, rows)
        pieces = kitty.transmit(sent.id, png, columns, rows, in_tmux=self.choice.in_tmux)
        self.last_bytes = sum(map(len, pieces))
        written = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def done(all_written: bool) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: None if written.done() else written.set_result(all_written))

        self._tell(pieces, wanted, done)
        if not await written:
            self._store.remove(sent)
            return None
        for old in self._store.too_many():
            self._tell([kitty.delete(old.id, in_tmux=self.choice.in_tmux)])
        return sent

    def _tell(
        self, pieces: Sequence[bytes], wanted: Callable[[], bool] = lambda: True, done: Callable[[bool], None] = lambda written: None
    ) -> None:
        if self._sender is None:
            done(False)
            return
        self.num_bytes += sum(map(len, pieces))
        self._sender.send(pieces, wanted, done)
