"""Events as they come: in order, without a hole, durable ones counted by credit, ephemeral ones conflated. No sockets."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal

from daemon.protocol.commands import Attach, Attached, Snapshot
from daemon.protocol.events import AnyEvent, Gauges, Preview, Residents, StepProgress

WINDOW = 256

Item = tuple[int, AnyEvent | Snapshot]
Taken = Literal["taken", "ignored", "hole"]


class Inbox:
    """Where this client stands in the log of `store_id`: `last_seq` is the newest event that came, read or not."""

    def __init__(self, store_id: str, since_seq: int | None, previews: bool, window: int = WINDOW) -> None:
        """`since_seq` None asks for a snapshot first."""
        self.store_id = store_id if since_seq is not None else ""
        self.last_seq = since_seq or 0
        self.previews = previews
        self.is_attached = False
        self.num_holes = 0
        self._window = window
        self._read = 0
        self._durable: deque[Item] = deque()
        self._ephemeral: dict[str, AnyEvent] = {}
        self._wake = asyncio.Event()

    def attach(self) -> Attach:
        """What to ask for now; events are ignored until its answer."""
        self.is_attached = False
        self._read = 0
        credit = max(0, self._window - len(self._durable))
        return Attach(store_id=self.store_id, since_seq=self.last_seq, credit=credit, previews=self.previews)

    def attached(self, store_id: str, answer: Attached) -> None:
        """The flow begins: behind `last_seq`, or behind a snapshot that replaces all that was not read yet."""
        self.is_attached = True
        self.store_id = store_id
        if answer.snapshot is not None:
            self._read += len(self._durable)
            self._durable.clear()
            self._ephemeral.clear()
            self._durable.append((answer.seq, answer.snapshot))
        self.last_seq = answer.seq
        self._wake.set()

    def take(self, seq: int, event: AnyEvent) -> Taken:
        """An event came. After `hole`, attach again."""
        if not self.is_attached:
            return "ignored"
        if seq == 0:
            self._ephemeral[_conflation_key(event)] = event
        elif seq <= self.last_seq:
            return "ignored"
        elif seq > self.last_seq + 1:
            self.is_attached = False
            self.num_holes += 1
            return "hole"
        else:
            self.last_seq = seq
            self._durable.append((seq, event))
        self._wake.set()
        return "taken"

    def owed_credit(self) -> int:
        """How many events were read since credit was last given; 0 until it is half a window."""
        if not self.is_attached or self._read < max(1, self._window // 2):
            return 0
        owed, self._read = self._read, 0
        return owed

    async def next(self) -> Item:
        """The next snapshot or event, durable ones first; waits for ever."""
        while True:
            if self._durable:
                item = self._durable.popleft()
                if not isinstance(item[1], Snapshot):
                    self._read += 1
                return item
            if self._ephemeral:
                return 0, self._ephemeral.pop(next(iter(self._ephemeral)))
            self._wake.clear()
            await self._wake.wait()


def _conflation_key(event: AnyEvent) -> str:
    match event:
        case StepProgress() | Preview():
            return f"{type(event).__name__}:{event.job_id}"
        case Gauges():
            return f"Gauges:{event.device}"
        case Residents():
            return f"Residents:{event.worker}"
        case _:
            return type(event).__name__
