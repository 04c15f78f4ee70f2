"""Who is connected, and how much each may ask: the limits of the contract, counted per peer. Pure bookkeeping, no sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from daemon.protocol.codec import MAX_FRAME_BYTES, MAX_FRAMES
from daemon.protocol.errors import NegError

Frames = list[bytes]


@dataclass(frozen=True)
class Limits:
    """Section 8 of the contract."""

    peers: int = 32
    open_requests: int = 64
    messages_per_second: int = 500
    silence_seconds: float = 30.0

    def told(self) -> dict[str, int]:
        """As `Welcome.limits` tells them."""
        return {
            "peers": self.peers,
            "open_requests": self.open_requests,
            "messages_per_second": self.messages_per_second,
            "frame_bytes": MAX_FRAME_BYTES,
            "frames": MAX_FRAMES,
        }


@dataclass(eq=False)
class Peer:
    """One connection: its allowance, what waits to be sent to it, and where it stands in the log of events."""

    id: bytes
    heard: float
    tokens: float
    num_open: int = 0
    outbox: deque[Frames] = field(default_factory=deque)
    is_gone: bool = False

    is_attached: bool = False
    generation: int = 0
    """Grows with every attach, so that a read begun for an older one is thrown away."""
    cursor: int = 0
    credit: int = 0
    previews: bool = False
    ephemeral: dict[str, Frames] = field(default_factory=dict)

    def spend(self, now: float, rate: int) -> bool:
        """Take one message from the allowance of `rate` a second; false when it is used up."""
        self.tokens = min(float(rate), self.tokens + (now - self.heard) * rate)
        self.heard = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Peers:
    """All peers of one socket."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._by_id: dict[bytes, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, id: bytes) -> Peer | None:
        return self._by_id.get(id)

    def add(self, id: bytes, now: float) -> Peer:
        """A new peer; raises `NegError` `busy` when there are as many as may be."""
        if len(self._by_id) >= self.limits.peers:
            raise NegError(
                "busy", f"{self.limits.peers} clients are connected, more are not served.", "Close one, then try again.", retryable=True
            )
        peer = Peer(id=id, heard=now, tokens=float(self.limits.messages_per_second))
        self._by_id[id] = peer
        return peer

    def drop(self, peer: Peer) -> None:
        """Forget a peer and all that waited for it."""
        peer.is_gone = True
        peer.is_attached = False
        peer.outbox.clear()
        peer.ephemeral.clear()
        self._by_id.pop(peer.id, None)

    def silent(self, now: float) -> list[Peer]:
        """Those not heard of for `silence_seconds`."""
        return [peer for peer in self if now - peer.heard > self.limits.silence_seconds]
