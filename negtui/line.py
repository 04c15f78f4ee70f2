"""A connection kept up: requests in, replies matched, liveness, back-off. Knows messages, not sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from daemon.protocol import codec
from daemon.protocol.commands import NOT_REPEATED, AnyResult, Command, Ping
from daemon.protocol.errors import NegError

PING_SECONDS = 2.0
MAX_MISSES = 3
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0

log = logging.getLogger(__name__)


class NoReply(NegError):
    """The outcome is unknown: asked, and not answered. A `Submit` stays in the outbox and is sent again."""

    def __init__(self, message: str, hint: str = "Try again; what was asked may have been done.") -> None:
        super().__init__("busy", message, hint, retryable=True)


class Pipe(Protocol):
    """A connection that may break but never waits."""

    def send(self, frames: list[bytes]) -> None:
        """Send, or keep in order until there is room."""

    def close(self) -> None:
        """Drop the connection and what was not sent."""


OnMessage = Callable[[list[bytes]], None]
MakePipe = Callable[[str, OnMessage, Callable[[], None]], Pipe]
"""(endpoint, on_message, on_down) -> an open pipe."""


@dataclass
class _Asked:
    frames: list[bytes]
    answer: asyncio.Future[tuple[AnyResult, list[bytes]]]
    may_repeat: bool
    was_sent: bool = False


@dataclass(eq=False)
class Line:
    """A connection kept up: requests wait while it is down and are sent again once it is back, if they may be repeated.

    `greet` is awaited on each new connection before anything else is sent; `on_result` sees every reply first.
    """

    endpoint: str
    make_pipe: MakePipe
    greet: Callable[[], Awaitable[None]]
    on_result: Callable[[AnyResult], None] = lambda result: None
    on_event: Callable[[int, list[bytes]], None] = lambda seq, frames: None
    on_contact: Callable[[bool, str], None] = lambda connected, message: None
    ping: Callable[[], Ping] | None = None
    is_up: bool = False
    fault: NegError | None = None
    """Why this line was given up: another protocol version."""
    _pipe: Pipe | None = None
    _asked: dict[int, _Asked] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _down: asyncio.Event = field(default_factory=asyncio.Event)
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)
    _heard: float = 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep())

    @property
    def silent_seconds(self) -> float:
        """How long nothing was heard; an answer to each ping is."""
        return asyncio.get_running_loop().time() - self._heard

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._abandon(NoReply("The connection was closed."))

    def tell(self, command: Command) -> None:
        """Send a command whose answer nobody waits for."""
        if self._pipe is not None:
            self._pipe.send(codec.encode_frames("REQ", command, id=next(self._ids)))

    async def ask(self, command: Command, seconds: float, *, greeting: bool = False) -> tuple[AnyResult, list[bytes]]:
        """A command's result and attachments, `Failed` included. Raises `NoReply`, or `too_large` before sending."""
        if self.fault is not None:
            raise self.fault
        body = codec.encode(command)
        if len(body) > codec.MAX_FRAME_BYTES:
            raise NegError(
                "too_large",
                f"{type(command).__name__} takes {len(body) // 1024} KiB, at most {codec.MAX_FRAME_BYTES // 1024} KiB may be sent.",
                "Put the prompts into a prompts_file.",
            )
        number = next(self._ids)
        answer: asyncio.Future[tuple[AnyResult, list[bytes]]] = asyncio.get_running_loop().create_future()
        may_repeat = not greeting and not isinstance(command, NOT_REPEATED)
        asked = self._asked[number] = _Asked(codec.encode_frames("REQ", body, id=number), answer, may_repeat)
        if self.is_up or greeting:
            self._send(asked)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise NoReply(f"The daemon did not answer {type(command).__name__} within {seconds:g} s.") from None
        finally:
            self._asked.pop(number, None)

    def hurry(self) -> None:
        """Try to connect now, if this waits to try again."""
        self._hurry.set()

    def reset(self) -> None:
        """Throw the connection away and make a new one."""
        self._down.set()

    def _send(self, asked: _Asked) -> None:
        if self._pipe is not None:
            asked.was_sent = True
            self._pipe.send(asked.frames)

    async def _keep(self) -> None:
        delay = FIRST_BACKOFF_SECONDS
        while True:
            reason = "No daemon listens there."
            if is_listening(self.endpoint):
                try:
                    await self._live()
                    reason, delay = "The connection was lost.", FIRST_BACKOFF_SECONDS
                except NoReply as error:
                    reason = error.detail.message
                except NegError as error:
                    reason = str(error)
                    if not error.detail.retryable:
                        self.fault = error
                        self._abandon(error)
                        self.on_contact(False, reason)
                        return
            self.on_contact(False, reason)
            self._hurry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay * random.uniform(0.5, 1.5)):
                    await self._hurry.wait()
            delay = min(2 * delay, MAX_BACKOFF_SECONDS)

    async def _live(self) -> None:
        """One connection from greeting to end."""
        self._down.clear()
        self._heard = asyncio.get_running_loop().time()
        self._pipe = self.make_pipe(self.endpoint, self._receive, self._down.set)
        try:
            await self._greeted()
            self.is_up = True
            self.on_contact(True, "")
            for asked in list(self._asked.values()):
                self._send(asked)
            await self._watch()
        finally:
            self.is_up = False
            self._pipe.close()
            self._pipe = None
            for asked in list(self._asked.values()):
                if asked.was_sent and not asked.may_repeat and not asked.answer.done():
                    asked.answer.set_exception(NoReply("The connection was lost before the answer came."))

    async def _greeted(self) -> None:
        """Greet, unless the connection breaks first."""
        greeting = asyncio.ensure_future(self.greet())
        broken = asyncio.ensure_future(self._down.wait())
        try:
            await asyncio.wait({greeting, broken}, return_when=asyncio.FIRST_COMPLETED)
            if not greeting.done():
                raise NoReply("The connection broke at once.")
            await greeting
        finally:
            for task in (greeting, broken):
                task.cancel()
            await asyncio.gather(greeting, broken, return_exceptions=True)

    async def _watch(self) -> None:
        """Return when the connection is broken or nothing was heard for three pings."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_SECONDS):
                    await self._down.wait()
                return
            if self.ping is not None:
                if asyncio.get_running_loop().time() - self._heard > MAX_MISSES * PING_SECONDS:
                    return
                self.tell(self.ping())

    def _receive(self, frames: list[bytes]) -> None:
        self._heard = asyncio.get_running_loop().time()
        try:
            head = codec.decode_head(frames[0])
            if head.kind == "EVT" and len(frames) > 1:
                self.on_event(head.seq, frames[1:])
                return
            result = codec.decode_result(frames[1])
        except (NegError, IndexError) as error:
            log.warning("An unreadable message came: %s", error)
            return
        self.on_result(result)
        asked = self._asked.get(head.id)
        if asked is not None and not asked.answer.done():
            asked.answer.set_result((result, frames[2:]))

    def _abandon(self, error: NegError) -> None:
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_exception(error)


def is_listening(endpoint: str) -> bool:
    """Whether a process listens on an `ipc://` endpoint; a stale socket file does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(endpoint.removeprefix("ipc://"))
        except OSError:
            return False
    return True
