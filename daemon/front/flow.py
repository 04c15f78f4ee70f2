"""Events out: durable ones from the stored log, by each peer's cursor and credit; ephemeral ones conflated and losable.

Nothing is buffered per peer but the latest ephemeral of each kind, so a stalled client costs nothing and loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from daemon.front.peers import Frames, Peer
from daemon.front.sockets import Sent
from daemon.protocol import codec
from daemon.protocol.events import EphemeralEvent, Gauges, Preview, Residents, StepProgress

BATCH = 64
EPHEMERAL_SECONDS = 0.1


class Stored(Protocol):
    """A row of the log: `body` is an encoded `DurableEvent`."""

    @property
    def seq(self) -> int: ...
    @property
    def time(self) -> float: ...
    @property
    def body(self) -> bytes: ...


Read = Callable[[int, int], Awaitable[Sequence[Stored]]]
"""(since_seq, limit) -> events after it, in order."""


class Flow:
    """Pushes events to the attached among `peers()`, by `send`, which never waits."""

    def __init__(self, read: Read, peers: Callable[[], Iterable[Peer]], send: Callable[[Peer, Frames], Sent]) -> None:
        self._read = read
        self._peers = peers
        self._send = send
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.head_seq = 0

    def attach(self, peer: Peer, since_seq: int, credit: int, previews: bool) -> None:
        """Start, or start anew, the flow to a peer."""
        peer.is_attached = True
        peer.generation += 1
        peer.cursor, peer.credit, peer.previews = since_seq, credit, previews
        peer.ephemeral.clear()
        self.wake()

    def add_credit(self, peer: Peer, n: int) -> None:
        """Allow `n` more durable events."""
        peer.credit += n
        self.wake()

    def advance(self, head_seq: int) -> None:
        """The log has grown."""
        self.head_seq = max(self.head_seq, head_seq)
        self.wake()

    def wake(self) -> None:
        """Something changed: events, credit, or room in a peer's pipe."""
        self._wake.set()

    @property
    def is_watched(self) -> bool:
        """Whether anybody is attached."""
        return any(peer.is_attached for peer in self._peers())

    @property
    def previews_wanted(self) -> bool:
        return any(peer.is_attached and peer.previews for peer in self._peers())

    def tell(self, event: EphemeralEvent) -> None:
        """Send an ephemeral event to everybody attached, soon; a later one of the same job and type replaces it until then."""
        attachments: tuple[bytes, ...] = ()
        preview = isinstance(event, Preview)
        if isinstance(event, Preview) and event.jpeg:
            attachments = (event.jpeg,)
            event = msgspec.structs.replace(event, jpeg=b"")
        key = conflation_key(event)
        frames: Frames | None = None
        for peer in self._peers():
            if peer.is_attached and (peer.previews or not preview):
                frames = frames or codec.encode_frames("EVT", event, attachments=attachments)
                peer.ephemeral[key] = frames
        if frames is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EPHEMERAL_SECONDS, self._flush_ephemerals)

    async def run(self) -> None:
        """Pump durable events for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self._round():
                pass

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def _round(self) -> bool:
        """A batch to every peer that may have one; whether any went."""
        moved = False
        for peer in self._peers():
            if peer.is_attached and not peer.outbox and peer.credit > 0 and peer.cursor < self.head_seq:
                moved = await self._feed(peer) or moved
        return moved

    async def _feed(self, peer: Peer) -> bool:
        generation, cursor = peer.generation, peer.cursor
        for event in await self._read(cursor, min(peer.credit, BATCH)):
            if peer.generation != generation or not peer.is_attached:
                break
            if self._send(peer, codec.encode_frames("EVT", event.body, seq=event.seq, at=event.time)) != "sent":
                break
            peer.cursor = event.seq
            peer.credit -= 1
        return peer.generation == generation and peer.cursor > cursor

    def _flush_ephemerals(self) -> None:
        self._timer = None
        waiting = False
        for peer in self._peers():
            while peer.ephemeral and not peer.outbox and peer.is_attached:
                key = next(iter(peer.ephemeral))
                if self._send(peer, peer.ephemeral[key]) != "sent":
                    break
                peer.ephemeral.pop(key, None)
            waiting = waiting or bool(peer.ephemeral)
        if waiting:
            self._timer = asyncio.get_running_loop().call_later(EPHEMERAL_SECONDS, self._flush_ephemerals)


def conflation_key(event: EphemeralEvent) -> str:
    """What two ephemeral events share when the later one says all that counts."""
    match event:
        case StepProgress():
            return f"progress:{event.job_id}"
        case Preview():
            return f"preview:{event.job_id}"
        case Gauges():
            return f"gauges:{event.device}"
        case Residents():
            return f"residents:{event.worker}"
