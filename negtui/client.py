"""The daemon from here: requests with three outcomes, events without a hole, files by pieces. Reconnects by itself.

No Textual and no torch: the command line, tests and scripts use it too. Use from one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import zmq

from daemon.config import Places, places
from daemon.protocol import codec
from daemon.protocol.commands import SLOW, AnyResult, Attached, Command, Credit, Failed, Hello, Ping, Pong, Submit, Welcome
from daemon.protocol.errors import NegError
from daemon.protocol.events import Preview
from negtui.fetching import fetch
from negtui.inbox import Inbox, Item
from negtui.launch import ensure_daemon
from negtui.line import Line, NoReply
from negtui.outbox import Outbox
from negtui.ssh import tunnel

GREETING_SECONDS = 3.0
REVIVE_SECONDS = 1.0
REQUEST_SECONDS = 30.0
SLOW_SECONDS = 3600.0
RETRY_SECONDS = 0.05
MAX_REPLY_BYTES = 16 * 1024 * 1024

T = TypeVar("T")
Context = zmq.Context[zmq.Socket[bytes]]

__all__ = ["Client", "Endpoints", "NoReply", "run"]


@dataclass(frozen=True)
class Endpoints:
    """The two sockets of a daemon, `ipc://...`."""

    ctl: str
    blob: str

    @classmethod
    def of(cls, found: Places) -> Endpoints:
        return cls(found.ctl_endpoint, found.blob_endpoint)


class DealerPipe:
    """A DEALER in the asyncio loop that never reconnects nor waits: a broken one is thrown away. `on_down` tells that it broke."""

    def __init__(self, context: Context, endpoint: str, on_message: Callable[[list[bytes]], None], on_down: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_down = on_down
        self._unsent: deque[list[bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        self._socket = context.socket(zmq.DEALER)
        for option, value in {
            zmq.LINGER: 0,
            zmq.SNDHWM: 256,
            zmq.RCVHWM: 1024,
            zmq.RECONNECT_IVL: -1,
            zmq.MAXMSGSIZE: MAX_REPLY_BYTES,
        }.items():
            self._socket.setsockopt(option, value)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
        self._socket.connect(endpoint)
        self._loop.add_reader(self._socket.fileno(), self._schedule)
        self._loop.add_reader(self._monitor.fileno(), self._look)
        self._schedule()

    def send(self, frames: list[bytes]) -> None:
        """Send, or keep in order until there is room."""
        self._unsent.append(frames)
        self._flush()

    def close(self) -> None:
        for line in (self._socket, self._monitor):
            self._loop.remove_reader(line.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)

    def _flush(self) -> None:
        self._timer = None
        try:
            while self._unsent:
                self._socket.send_multipart(self._unsent[0], zmq.NOBLOCK)
                self._unsent.popleft()
        except zmq.Again:
            self._timer = self._timer or self._loop.call_later(RETRY_SECONDS, self._flush)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        for _ in range(256):
            if self._socket.closed:
                return
            try:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                self._look()
                return
            frames = [frame.bytes]
            while frame.more:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                if len(frames) < codec.MAX_FRAMES:
                    frames.append(frame.bytes)
            self._on_message(frames)
        self._schedule()

    def _look(self) -> None:
        with contextlib.suppress(zmq.Again):
            while not self._monitor.closed:
                self._monitor.recv_multipart(zmq.NOBLOCK)
                self._on_down()


class Client:
    """A daemon, connected. Make one with `async with Client.connect(...) as client`."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        name: str = "negtui",
        outbox: Outbox | None = None,
        on_contact: Callable[[bool, str], None] = lambda connected, message: None,
    ) -> None:
        self.welcome: Welcome | None = None
        self.pong: Pong | None = None
        self.num_holes = 0
        self._name = name
        self._outbox = outbox
        self._on_contact = on_contact
        self._inbox: Inbox | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._greeted = asyncio.Event()
        self._context: Context = zmq.Context()
        self._ctl = Line(
            endpoints.ctl,
            self._make_pipe,
            self._greet,
            on_result=self._on_result,
            on_event=self._on_event,
            on_contact=self._contact,
            ping=lambda: Ping(last_seq=self._inbox.last_seq if self._inbox else 0),
        )
        self._blob = Line(endpoints.blob, self._make_pipe, _nothing)
        self._reason = ""

    @property
    def silent_seconds(self) -> float:
        """How long the daemon said nothing; more than `PING_SECONDS` or so means that it hangs, or the line does."""
        return self._ctl.silent_seconds

    def hurry(self) -> None:
        """Try to connect now, where the next try would come in a while."""
        self._ctl.hurry()
        self._blob.hurry()

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls,
        endpoint: str | Endpoints | None = None,
        *,
        workspace: str | Path | None = None,
        start: bool = True,
        name: str = "negtui",
        outbox_path: Path | None = None,
        on_contact: Callable[[bool, str], None] = lambda connected, message: None,
        seconds: float = 10.0,
    ) -> AsyncIterator[Client]:
        """A client of the workspace's own daemon (None; started unless `start` is false), of `ssh://...`, or of given `Endpoints`.

        Submissions that an earlier client left unanswered in the outbox are sent first. Raises `NegError` where nobody answers.
        """
        revive: Callable[[], Awaitable[object]] = _nothing
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(endpoint, str):
                ctl, blob = await stack.enter_async_context(tunnel(endpoint))
                endpoint = Endpoints(ctl, blob)
            elif endpoint is None:
                found = places(workspace)
                if start:
                    revive = partial(ensure_daemon, found)
                    await revive()
                endpoint = Endpoints.of(found)
                outbox_path = outbox_path or found.state_path / "outbox"
            client = cls(endpoint, name=name, outbox=Outbox(outbox_path) if outbox_path else None, on_contact=on_contact)
            stack.push_async_callback(client.close)
            await client.open(seconds, revive)
            await client.send_outbox()
            yield client

    async def open(self, seconds: float = 10.0, revive: Callable[[], Awaitable[object]] | None = None) -> Welcome:
        """Connect and wait for the daemon's welcome. Raises `NegError`, in words.

        `revive` is called while none comes: a daemon that was just killed may still have listened when it was looked for.
        """
        self._ctl.start()
        self._blob.start()
        waiting = asyncio.create_task(self._greeted.wait())
        try:
            async with asyncio.timeout(seconds):
                while not (await asyncio.wait([waiting], timeout=REVIVE_SECONDS))[0]:
                    await (revive or _nothing)()
        except TimeoutError:
            raise NoReply(f"No daemon answers: {self._reason or 'it is silent.'}", "Is it running? negtui daemon status.") from None
        finally:
            waiting.cancel()
        if self._ctl.fault is not None:
            raise self._ctl.fault
        assert self.welcome is not None
        return self.welcome

    async def close(self) -> None:
        """Leave; the daemon and its jobs go on."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._ctl.close()
        await self._blob.close()
        self._context.destroy(linger=0)

    async def request(self, command: Command, seconds: float | None = None) -> AnyResult:
        """A command's result. Raises `NegError` (refused, in words) or `NoReply` (unknown; a `Submit` waits in the outbox).

        While the connection is down it waits, and is sent again once that is back, unless it must not be (`NOT_REPEATED`).
        """
        if seconds is None:
            seconds = SLOW_SECONDS if isinstance(command, SLOW) else REQUEST_SECONDS
        if not isinstance(command, Submit) or self._outbox is None:
            return _checked((await self._ctl.ask(command, seconds))[0])
        await asyncio.to_thread(self._outbox.put, command)
        result, _ = await self._ctl.ask(command, seconds)
        await asyncio.to_thread(self._outbox.remove, command.key)
        return _checked(result)

    async def send_outbox(self) -> list[AnyResult | NegError]:
        """Send what was never answered; what became of each."""
        outcomes: list[AnyResult | NegError] = []
        for command in self._outbox.waiting() if self._outbox else []:
            try:
                outcomes.append(await self.request(command))
            except NegError as error:
                outcomes.append(error)
        return outcomes

    async def events(self, since_seq: int | None = None, *, previews: bool = False) -> AsyncIterator[Item]:
        """Attach: `(seq, event)` after `since_seq` (None: a `Snapshot` first), and `(0, event)` for ephemeral ones, for ever.

        Through lost connections and restarts of the daemon, without a hole and without a double; a `Snapshot` in the midst
        means that the daemon has another database. One reader at a time.
        """
        if self.welcome is None or self._inbox is not None:
            raise RuntimeError("Open the client first; events have one reader.")
        inbox = self._inbox = Inbox(self.welcome.store_id, since_seq, previews)
        try:
            self._attach_soon()
            while True:
                item = await inbox.next()
                credit = inbox.owed_credit()
                if credit:
                    self._ctl.tell(Credit(n=credit))
                yield item
        finally:
            self._inbox = None

    async def fetch(self, session: str, path: str, seconds: float = 120.0) -> bytes:
        """A file of a session, its hash checked. Raises `NegError` `not_found`, `conflict` (it keeps changing), `corrupt`, or `NoReply`."""
        return await fetch(self._blob.ask, session, path, seconds)

    def _make_pipe(self, endpoint: str, on_message: Callable[[list[bytes]], None], on_down: Callable[[], None]) -> DealerPipe:
        return DealerPipe(self._context, endpoint, on_message, on_down)

    async def _greet(self) -> None:
        result, _ = await self._ctl.ask(
            Hello(min_protocol=codec.MAJOR, max_protocol=codec.MAJOR, client=self._name), GREETING_SECONDS, greeting=True
        )
        welcome = _checked(result)
        if not isinstance(welcome, Welcome):
            raise NegError("incompatible", "The daemon's greeting is not understood.", "Use the same negtui version on both sides.")
        self.welcome = welcome
        if self._inbox is not None:
            await self._attach()

    async def _attach(self) -> None:
        assert self._inbox is not None
        _checked((await self._ctl.ask(self._inbox.attach(), GREETING_SECONDS, greeting=True))[0])

    def _attach_soon(self) -> None:
        """Attach beside what else goes on; a failure makes a new connection, which attaches too."""

        async def attach() -> None:
            try:
                await self._attach()
            except NegError:
                self._ctl.reset()

        if self._ctl.is_up:
            task = asyncio.create_task(attach())
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    def _on_result(self, result: AnyResult) -> None:
        if isinstance(result, Attached) and self._inbox is not None and self.welcome is not None:
            # Here and now: events may be right behind it.
            self._inbox.attached(self.welcome.store_id, result)
        elif isinstance(result, Pong) and self.welcome is not None and result.boot_id:
            self.pong = result
            if result.boot_id != self.welcome.boot_id:
                self._ctl.reset()
            elif self._inbox is not None and self._inbox.is_attached and not result.attached:
                self._attach_soon()

    def _on_event(self, seq: int, frames: list[bytes]) -> None:
        if self._inbox is None:
            return
        event = codec.decode_event(frames[0])
        if isinstance(event, Preview) and len(frames) > 1:
            event = msgspec.structs.replace(event, jpeg=frames[1])
        if self._inbox.take(seq, event) == "hole":
            self.num_holes += 1
            self._attach_soon()

    def _contact(self, is_connected: bool, reason: str) -> None:
        self._reason = reason
        if is_connected or self._ctl.fault is not None:
            self._greeted.set()
        if not is_connected:
            self._blob.reset()
        elif self._inbox is not None and not self._inbox.is_attached:
            self._attach_soon()
        self._on_contact(is_connected, reason)


async def _nothing() -> None:
    pass


def _checked(result: AnyResult) -> AnyResult:
    if isinstance(result, Failed):
        raise NegError.from_detail(result.error)
    return result


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that uses a client to its end, for callers without an event loop."""
    return asyncio.run(coroutine)
