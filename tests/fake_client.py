"""A client of a daemon of scripts, for the dashboard: a snapshot first, then what the test tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from daemon.protocol.commands import AnyResult, Command, ListSessions, SessionRow, Sessions, Snapshot, Submit, Welcome
from daemon.protocol.errors import NegError
from daemon.protocol.events import AnyEvent, EphemeralEvent, JobAccepted, JobStateChanged
from negtui.inbox import Item
from tests.fake_daemon import FakeDaemon


class FakeClient:
    """`connect` is what `NegtuiApp` takes. `daemon` answers requests, but for `refusals`; `tell` sends events; `files` are fetched."""

    def __init__(self, daemon: FakeDaemon | None = None, sessions: tuple[SessionRow, ...] | None = None) -> None:
        self.daemon = daemon or FakeDaemon()
        self.sessions = sessions if sessions is not None else (SessionRow(name="toy", num_images=36, adapters=("wrong",)),)
        self.refusals: dict[type, NegError] = {}
        """By the command's type; taken out, it is answered again."""
        self.files: dict[tuple[str, str], bytes] = {}
        self.fetched: list[tuple[str, str]] = []
        self.silent_seconds = 0.0
        self.num_hurries = 0
        self.is_reachable = True
        self.started: list[bool] = []
        self._told: asyncio.Queue[Item] = asyncio.Queue()
        self._on_contact: Callable[[bool, str], None] = lambda connected, reason: None

    @property
    def welcome(self) -> Welcome | None:
        return self.daemon.welcome

    @asynccontextmanager
    async def connect(self, on_contact: Callable[[bool, str], None], start: bool) -> AsyncIterator[FakeClient]:
        self.started.append(start)
        if not self.is_reachable:
            raise NegError("not_found", "No daemon runs there.", "Start it.")
        self._on_contact = on_contact
        yield self

    async def request(self, command: Command) -> AnyResult:
        if type(command) in self.refusals:
            raise self.refusals[type(command)]
        if isinstance(command, ListSessions):
            return Sessions(sessions=self.sessions)
        if isinstance(command, Submit):
            answer = await self.daemon.submit(command.spec, command.after)
            self.tell_pending()
            return answer
        answer = await self.daemon.request(command)  # type: ignore[arg-type]
        self.tell_pending()
        return answer

    async def events(self, since_seq: int | None = None, *, previews: bool = False) -> AsyncGenerator[Item, None]:
        yield 0, self.snapshot()
        while True:
            yield await self._told.get()

    async def fetch(self, session: str, path: str) -> bytes:
        self.fetched.append((session, path))
        if (session, path) not in self.files:
            raise NegError("not_found", f"There is no {path} in {session}.", "")
        return self.files[session, path]

    def hurry(self) -> None:
        self.num_hurries += 1

    def snapshot(self) -> Snapshot:
        return Snapshot(jobs=tuple(self.daemon.jobs), sessions=self.sessions, workers={"worker": "ready"})

    def tell(self, *events: AnyEvent) -> None:
        """Events as the daemon would send them; durable ones are stored in `daemon.log` and numbered."""
        for event in events:
            if isinstance(event, EphemeralEvent):
                self._told.put_nowait((0, event))
                continue
            if isinstance(event, (JobAccepted, JobStateChanged)):
                ids = [row.id for row in self.daemon.jobs]
                at = ids.index(event.job.id) if event.job.id in ids else len(ids)
                self.daemon.jobs[at : at + 1] = [event.job]
            self.daemon.log.append(event)
            self._told.put_nowait((len(self.daemon.log), event))

    def tell_pending(self) -> None:
        """What the daemon's script says happens now."""
        pending, self.daemon.pending = self.daemon.pending, []
        self.tell(*pending)

    def lose(self, reason: str = "The connection was lost.") -> None:
        self._on_contact(False, reason)

    def find_again(self) -> None:
        self._on_contact(True, "")
