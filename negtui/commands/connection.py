"""The daemon as commands see it, over `negtui.client`: submissions under fresh keys, lost connections in words."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from pathlib import Path
from typing import cast

import platformdirs

from daemon.config import places
from daemon.protocol.commands import AnyCommand, AnyResult, Snapshot, Submit, Submitted, Welcome
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobStateChanged
from daemon.protocol.specs import JobSpec
from negtui.client import Client, Endpoints, NoReply
from negtui.commands.invocation import Told, Unreachable, ask
from negtui.config import Settings
from negtui.inbox import Item
from negtui.line import is_listening

GIVE_UP_SECONDS = 60.0
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


async def open_daemon(settings: Settings, start: bool, note: Callable[[str], None]) -> ConnectedDaemon:
    """Connect as `settings` say. Raises `Unreachable`."""
    daemon = ConnectedDaemon(note)
    try:
        await daemon.open(settings, start)
    except NegError as error:
        await daemon.close()
        raise error if error.detail.code in ("invalid", "bad_version") else Unreachable(error.detail.message, error.detail.hint) from None
    return daemon


def new_key() -> str:
    """A ULID: 48 bits of milliseconds, 80 bits of chance, in Crockford's base 32."""
    number = (time.time_ns() // 1_000_000 % (1 << 48)) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


class ConnectedDaemon:
    """A `Daemon` over a client. Lost connections come back by themselves; after a minute without, they are given up."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._lost_since: float | None = None
        self._reason = ""

    async def open(self, settings: Settings, start: bool) -> None:
        client = client_of(settings, start, self._on_contact)
        self._client = await self._stack.enter_async_context(client)

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    @property
    def welcome(self) -> Welcome:
        assert self.client.welcome is not None
        return self.client.welcome

    async def request(self, command: AnyCommand) -> AnyResult:
        try:
            return await self.client.request(command)
        except NoReply as error:
            raise Unreachable(error.detail.message, error.detail.hint) from None

    async def submit(self, spec: JobSpec, after: tuple[str, ...] = ()) -> Submitted:
        return await ask(self, Submit(key=new_key(), spec=spec, after=after), Submitted)

    async def events(self, since_seq: int) -> AsyncIterator[Told]:
        async with aclosing(cast(AsyncGenerator[Item, None], self.client.events(since_seq))) as items:
            while True:
                pending = asyncio.ensure_future(anext(items))
                try:
                    while not (await asyncio.wait({pending}, timeout=1.0))[0]:
                        self._require_contact()
                finally:
                    if not pending.done():
                        pending.cancel()
                        await asyncio.gather(pending, return_exceptions=True)
                seq, event = pending.result()
                if isinstance(event, Snapshot):
                    for row in event.jobs:
                        yield Told(seq, time.time(), JobStateChanged(job=row))
                else:
                    yield Told(seq, time.time(), event)

    async def close(self) -> None:
        await self._stack.aclose()

    def _on_contact(self, is_connected: bool, reason: str) -> None:
        if is_connected:
            if self._lost_since is not None and self._client is not None:
                self._note("The daemon is back.")
            self._lost_since = None
        elif self._lost_since is None:
            self._lost_since, self._reason = time.monotonic(), reason
            if self._client is not None:
                self._note(f"The daemon does not answer: {reason} Waiting for it ...")

    def _require_contact(self) -> None:
        if self._lost_since is not None and time.monotonic() - self._lost_since > GIVE_UP_SECONDS:
            raise Unreachable(
                f"The daemon is gone: {self._reason}", "Jobs go on where they were when it is started again: negtui daemon start."
            )


def client_of(settings: Settings, start: bool, on_contact: Callable[[bool, str], None]) -> AbstractAsyncContextManager[Client]:
    """A client of the daemon that `settings` name, for the length of a block. Raises `NegError`; `Unreachable`: none may be started."""
    if settings.connect:
        outbox_path = platformdirs.user_state_path("negtui") / "outbox" / hashlib.sha256(settings.connect.encode()).hexdigest()[:12]
        return Client.connect(_endpoint(settings.connect), outbox_path=outbox_path, on_contact=on_contact)
    found = places(settings.workspace)
    if not start and not is_listening(found.ctl_endpoint):
        raise Unreachable(f"No daemon runs for {found.workspace}.", "negtui daemon start starts one.")
    return Client.connect(workspace=settings.workspace, start=start, on_contact=on_contact)


def _endpoint(connect: str) -> str | Endpoints:
    """`ssh://...` as it is; `ipc:///folder/ctl` with the `blob` beside it."""
    if connect.startswith("ssh://"):
        return connect
    path = Path(connect.removeprefix("ipc://"))
    if connect.startswith("ipc:///"):
        return Endpoints(connect, f"ipc://{path.with_name('blob')}")
    raise NegError(
        "invalid", f"--connect {connect!r} is not an endpoint.", "Write ssh://[user@]host[:port][/workspace] or ipc:///path/ctl."
    )
