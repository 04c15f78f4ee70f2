"""Requests in, replies out: decode, count against the limits, dispatch by a table, always answer. Serves `ctl` and `blob` alike."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from daemon.front.peers import Frames, Limits, Peer, Peers
from daemon.front.sockets import RouterSocket, Sent
from daemon.protocol import codec
from daemon.protocol.commands import Command, Failed, Pong, Result
from daemon.protocol.errors import NegError

RETRY_SECONDS = 0.05
SWEEP_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """A result with attachments, or with something to begin once it is on its way (a flow of events)."""

    result: Result
    attachments: tuple[bytes, ...] = ()
    then: Callable[[], None] | None = None


Handler = Callable[[Any, Peer], Awaitable[Result | Reply | None]]
Table = Mapping[type[Command], Handler]


class Router:
    """One socket with its peers. `on_room` is told that peers may have room again, `on_left` that one is gone."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        path: Path,
        table: Table,
        limits: Limits | None = None,
        *,
        on_room: Callable[[], None] = lambda: None,
        on_left: Callable[[Peer], None] = lambda peer: None,
    ) -> None:
        self.peers = Peers(limits or Limits())
        self._table = table
        self._on_room = on_room
        self._on_left = on_left
        self._socket = RouterSocket(context, path, self._receive, self._turn)
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Bind, and serve from the running loop."""
        self._loop = asyncio.get_running_loop()
        self._socket.open()
        self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    async def close(self) -> None:
        """Stop at once: requests still open are cancelled, their clients see no reply."""
        self._sweeper.cancel()
        if self._retry is not None:
            self._retry.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()

    def ensure_bound(self) -> bool:
        """Bind again if the socket file vanished; returns whether it had to. Raises `zmq.ZMQError` where the folder is gone too."""
        return self._socket.ensure_bound()

    async def drained(self) -> None:
        """Wait for the requests that are open now."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, peer: Peer, frames: Frames) -> Sent:
        """Send now, or say why not. A peer that is gone is forgotten."""
        if peer.is_gone:
            return "gone"
        sent = self._socket.send(peer.id, frames)
        if sent == "gone":
            self._drop(peer)
        elif sent == "full":
            self._retry_later()
        return sent

    def _receive(self, id: bytes, frames: list[bytes] | None) -> None:
        now = self._loop.time()
        peer = self.peers.find(id)
        request = codec.request_id(frames[0]) if frames else 0
        try:
            if peer is None:
                peer = self._admit(id, now)
            if not peer.spend(now, self.peers.limits.messages_per_second):
                raise NegError(
                    "rate_limited", f"More than {self.peers.limits.messages_per_second} messages a second.", "Wait.", retryable=True
                )
            if frames is None or len(frames) < 2:
                raise NegError("bad_frame", f"A message is head, body and at most {codec.MAX_FRAMES - 2} more frames.")
            head = codec.decode_head(frames[0])
            if head.kind != "REQ":
                raise NegError("bad_frame", f"Only requests are served here, not {head.kind}.")
            command = codec.decode_command(frames[1])
            handler = self._table.get(type(command))
            if handler is None:
                raise NegError("unknown_type", f"{type(command).__name__} is not served on this socket.")
            num_open = peer.num_open + len(peer.outbox)
            if num_open >= self.peers.limits.open_requests:
                raise NegError("busy", f"{num_open} requests are open.", "Wait for their replies.", retryable=True)
        except NegError as error:
            self._refuse(id, peer, request, error)
            return
        peer.num_open += 1
        task = self._loop.create_task(self._answer(handler, command, peer, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _admit(self, id: bytes, now: float) -> Peer:
        if len(self.peers) >= self.peers.limits.peers:
            self._probe(now)
        return self.peers.add(id, now)

    def _probe(self, now: float) -> None:
        """Send every silent peer an answer to nothing: those that have left are forgotten (ZeroMQ tells only when one sends)."""
        nothing = codec.encode_frames("REP", Pong(boot_id="", head_seq=0))
        for peer in self.peers:
            if now - peer.heard > 0.5:
                self.send(peer, nothing)

    def _refuse(self, id: bytes, peer: Peer | None, request: int, error: NegError) -> None:
        frames = codec.encode_frames("REP", Failed(error=error.detail), id=request)
        if peer is None:
            self._socket.send(id, frames)
        elif len(peer.outbox) < self.peers.limits.open_requests:
            self._queue(peer, frames)

    async def _answer(self, handler: Handler, command: Command, peer: Peer, request: int) -> None:
        try:
            reply = await handler(command, peer)
        except NegError as error:
            reply = Failed(error=error.detail)
        except Exception:
            log.exception("%s failed", type(command).__name__)
            fault = NegError("internal", f"The daemon could not do {type(command).__name__}.", "Its log, negd.log, says why.")
            reply = Failed(error=fault.detail)
        finally:
            peer.num_open -= 1
        if reply is None or peer.is_gone:
            return
        if isinstance(reply, Result):
            reply = Reply(reply)
        self._queue(peer, codec.encode_frames("REP", reply.result, id=request, attachments=reply.attachments))
        if reply.then is not None:
            reply.then()

    def _queue(self, peer: Peer, frames: Frames) -> None:
        peer.outbox.append(frames)
        self._flush(peer)

    def _flush(self, peer: Peer) -> None:
        while peer.outbox and self.send(peer, peer.outbox[0]) == "sent":
            peer.outbox.popleft()

    def _turn(self) -> None:
        for peer in self.peers:
            if peer.outbox:
                self._flush(peer)
        self._on_room()

    def _retry_later(self) -> None:
        if self._retry is None:
            self._retry = self._loop.call_later(RETRY_SECONDS, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self._turn()

    def _sweep(self) -> None:
        for peer in self.peers.silent(self._loop.time()):
            self._drop(peer)
        self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _drop(self, peer: Peer) -> None:
        was_attached = peer.is_attached
        self.peers.drop(peer)
        if was_attached:
            self._on_left(peer)
