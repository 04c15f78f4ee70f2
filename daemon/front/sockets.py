"""A bound ROUTER in the asyncio loop: messages in by callback, frame by frame; messages out without ever waiting.

Knows nothing of commands, peers' rights or limits beyond those that guard memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import zmq

from daemon.protocol.codec import MAX_FRAME_BYTES, MAX_FRAMES

MAX_PER_TURN = 256
HIGH_WATER_MARK = 256
HANDSHAKE_MILLISECONDS = 5000
SOCKET_MODE_MASK = 0o077

Sent = Literal["sent", "full", "gone"]
OnMessage = Callable[[bytes, list[bytes] | None], None]
"""(peer id, frames or None where there were too many)."""

log = logging.getLogger(__name__)


class RouterSocket:
    """One ROUTER on a unix socket. `on_turn` is called after every drained turn: peers may have room again."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], path: Path, on_message: OnMessage, on_turn: Callable[[], None]) -> None:
        self.path = path
        self._on_message = on_message
        self._on_turn = on_turn
        self._scheduled = False
        self._inode = 0
        self._socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        for option, value in {
            zmq.ROUTER_MANDATORY: 1,
            zmq.LINGER: 0,
            zmq.SNDHWM: HIGH_WATER_MARK,
            zmq.RCVHWM: HIGH_WATER_MARK,
            zmq.MAXMSGSIZE: MAX_FRAME_BYTES,
            zmq.HANDSHAKE_IVL: HANDSHAKE_MILLISECONDS,
        }.items():
            self._socket.setsockopt(option, value)

    def open(self) -> None:
        """Bind and listen in the running loop; a stale socket file is replaced, so hold the lock first."""
        self._bind()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._schedule)
        self._schedule()

    def close(self) -> None:
        """Stop listening; what was not sent yet is dropped."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close(0)

    def send(self, peer: bytes, frames: Sequence[bytes]) -> Sent:
        """Hand a message to ZeroMQ without waiting: sent, full (try again later), or gone (no such peer any more)."""
        try:
            self._socket.send_multipart([peer, *frames], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return "full"
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return "gone"
            raise
        finally:
            # A send may swallow the edge that the reader waits for.
            self._schedule()
        return "sent"

    def ensure_bound(self) -> bool:
        """Bind again if the socket file vanished (a cleaner of /tmp, a lost /run/user). Returns whether it had to."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                return False
        log.warning("The socket %s vanished; binding it again.", self.path)
        with contextlib.suppress(zmq.ZMQError):
            self._socket.unbind(f"ipc://{self.path}")
        self._bind()
        return True

    def _bind(self) -> None:
        before = os.umask(SOCKET_MODE_MASK)
        try:
            self._socket.bind(f"ipc://{self.path}")
        finally:
            os.umask(before)
        self._inode = self.path.stat().st_ino

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        if self._socket.closed:
            return
        for _ in range(MAX_PER_TURN):
            try:
                peer, frames = self._receive()
            except zmq.Again:
                break
            if peer is not None:
                self._on_message(peer, frames)
        else:
            self._schedule()
        self._on_turn()

    def _receive(self) -> tuple[bytes | None, list[bytes] | None]:
        """One message: (peer, frames), frames None if there were too many, peer None if it is another user's."""
        first = self._socket.recv(zmq.NOBLOCK, copy=False)
        ours = is_same_user(first)
        frames: list[bytes] = []
        count = 0
        frame = first
        while frame.more:
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            count += 1
            if ours and count <= MAX_FRAMES:
                frames.append(frame.bytes)
        return (first.bytes if ours else None), (frames if count <= MAX_FRAMES else None)


def is_same_user(frame: zmq.Frame) -> bool:
    """Whether the process that sent a frame over ipc runs under our uid (`Peer-Address` is `host:uid:gid:pid`, from SO_PEERCRED)."""
    try:
        address = str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return False
    parts = address.rsplit(":", 3)
    return len(parts) == 4 and parts[1] == str(os.getuid())


def is_listening(path: Path) -> bool:
    """Whether a process listens on a unix socket; a stale socket file does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
