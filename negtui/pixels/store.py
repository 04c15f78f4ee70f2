"""What this terminal already has: kitty pictures by id, so that none is sent twice. Pure bookkeeping, writes nothing."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

MAX_PIXELS = 40_000_000
"""A terminal keeps four bytes for each: 160 MB of kitty's 320."""
MIN_SHARE = 0.7
"""A picture sent for a smaller place may serve a larger one down to this share of its pixels a side."""


@dataclass
class Sent:
    """A picture that the terminal has under `id`, placed over `columns` x `rows` cells."""

    id: int
    key: Hashable
    columns: int
    rows: int
    num_users: int = 0
    sent_columns: int = 0
    sent_rows: int = 0

    @property
    def cells(self) -> int:
        return self.sent_columns * self.sent_rows


class TerminalStore:
    """Ids of pictures by what they show and where. The oldest that nobody shows is given up first."""

    def __init__(self, pixels_per_cell: int, first_id: int | None = None) -> None:
        self._pixels_per_cell = pixels_per_cell
        self._next_id = first_id or new_id()
        self._sent: OrderedDict[int, Sent] = OrderedDict()

    def find(self, key: Hashable, columns: int, rows: int) -> tuple[Sent, bool] | None:
        """The picture of `key` for a place of this size, and whether it must be placed anew; None where it has to be sent."""
        same = [sent for sent in self._sent.values() if sent.key == key]
        for sent in same:
            if (sent.columns, sent.rows) == (columns, rows):
                self._sent.move_to_end(sent.id)
                return sent, False
        for sent in same:
            if sent.num_users == 0 and sent.sent_columns >= MIN_SHARE * columns and sent.sent_rows >= MIN_SHARE * rows:
                sent.columns, sent.rows = columns, rows
                self._sent.move_to_end(sent.id)
                return sent, True
        return None

    def add(self, key: Hashable, columns: int, rows: int) -> Sent:
        """A new id for a picture that is about to be sent."""
        self._next_id = self._next_id % 0xFFFFFF + 1
        sent = Sent(self._next_id, key, columns, rows, sent_columns=columns, sent_rows=rows)
        self._sent[sent.id] = sent
        return sent

    def remove(self, sent: Sent) -> None:
        self._sent.pop(sent.id, None)

    def has(self, sent: Sent) -> bool:
        return self._sent.get(sent.id) is sent

    def too_many(self) -> list[Sent]:
        """Pictures to delete from the terminal, which are forgotten by this."""
        total = sum(sent.cells for sent in self._sent.values()) * self._pixels_per_cell
        given_up = []
        for sent in list(self._sent.values()):
            if total <= MAX_PIXELS:
                break
            if sent.num_users == 0:
                self.remove(sent)
                given_up.append(sent)
                total -= sent.cells * self._pixels_per_cell
        return given_up

    def all(self) -> list[Sent]:
        return list(self._sent.values())

    def forget(self) -> None:
        """The terminal may have lost all: it was detached, or another one came."""
        self._sent.clear()

    def __len__(self) -> int:
        return len(self._sent)


def new_id() -> int:
    """An id that other programs of the same terminal have hardly taken; above 2**16, as a 24-bit colour tells it."""
    return secrets.randbelow(1 << 23) + (1 << 16)
