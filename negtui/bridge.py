"""From the daemon to the screens: keeps a client connected, brings the view up to date, tells what changed. Knows no screen.

However fast events come, `post` is called for a change at most ten times a second, and once for all that changed meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol, cast

from textual.message import Message

from daemon.protocol import codec
from daemon.protocol.commands import AnyResult, Command, ListSessions, ReadEvents, Sessions, Snapshot, StoredEvents, Welcome
from daemon.protocol.errors import NegError
from daemon.protocol.events import (
    AdapterSaved,
    AnyEvent,
    ComparisonSaved,
    ImageSaved,
    JobAccepted,
    JobRow,
    JobStateChanged,
    Preview,
    SessionChanged,
    SweepSaved,
    VoteCast,
    VoteUndone,
)
from negtui.inbox import Item
from negtui.messages import Noticed, PreviewArrived, ViewChanged
from negtui.notices import notice
from negtui.view import OPEN, Connection, View, adopt, apply, move, recall

FLUSH_SECONDS = 0.1
RETRY_SECONDS = 1.0
SILENT_SECONDS = 2.8
LOOK_SECONDS = 0.25
SESSIONS_SECONDS = 1.0
SLICE_SECONDS = 0.008
NUM_REMEMBERED = 12
"""So many of the newest jobs have their histories read at once, beside the open ones; others when a screen asks."""


class Daemon(Protocol):
    """What the bridge needs of `negtui.client.Client`."""

    @property
    def welcome(self) -> Welcome | None: ...
    @property
    def silent_seconds(self) -> float: ...
    async def request(self, command: Command) -> AnyResult: ...
    def events(self, since_seq: int | None = None, *, previews: bool = False) -> AsyncIterator[Item]: ...
    async def fetch(self, session: str, path: str) -> bytes: ...
    def hurry(self) -> None: ...


OnContact = Callable[[bool, str], None]
Connect = Callable[[OnContact, bool], AbstractAsyncContextManager[Daemon]]
"""(whom to tell of contact lost and found, whether to start a daemon where none runs) -> a client for the length of a block."""


class Bridge:
    """Run `run` as the one worker; everything happens on its event loop."""

    def __init__(self, view: View, connect: Connect, post: Callable[[Message], object], endpoint: str = "") -> None:
        self.view = view
        self.client: Daemon | None = None
        self._connect = connect
        self._post = post
        self._endpoint = endpoint
        self._changed: frozenset[str] = frozenset()
        self._previews: dict[str, Preview] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushed = 0.0
        self._reading: dict[str, list[Item]] = {}
        """Jobs whose histories are being read, with the events that came meanwhile."""
        self._known: set[str] = set()
        self._wanted: deque[str] = deque()
        self._wake = asyncio.Event()
        self._are_sessions_stale = asyncio.Event()
        self._start_next = True

    async def run(self) -> None:
        """Connect, follow, and connect again; for ever. Never raises for a daemon that is not there."""
        self._contact("connecting", "")
        while True:
            start, self._start_next = self._start_next, False
            try:
                async with self._connect(self._on_contact, start) as client:
                    self.client = client
                    self._on_contact(True, "")
                    await self._together(
                        self._follow(client), self._read_histories(client), self._list_sessions(client), self._listen(client)
                    )
            except NegError as error:
                self.client = None
                self._contact("lost", str(error))
            await self._pause()

    def hurry(self) -> None:
        """Try to connect now rather than in a while."""
        if self.client is not None:
            self.client.hurry()
        self._wake.set()

    def remember(self, job_id: str) -> None:
        """Have a job's whole history read, unless it was: curves, log lines, images, samples, checkpoints."""
        if job_id not in self._known and job_id not in self._wanted:
            self._wanted.append(job_id)
            self._wake.set()

    def take(self, event: AnyEvent | Sessions | Connection) -> None:
        """Something learnt beside the flow of events."""
        self._change(apply(self.view, event, time.time()))

    def take_row(self, row: JobRow) -> None:
        """Where an answer says that a job stands."""
        self._change(move(self.view, row))

    async def _pause(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _together(self, *parts: Coroutine[None, None, None]) -> None:
        """Until one of them fails; raises what it raised."""
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            self.client = None
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    async def _follow(self, client: Daemon) -> None:
        until = time.monotonic() + SLICE_SECONDS
        async with aclosing(cast("AsyncGenerator[Item, None]", client.events(None, previews=True))) as items:
            async for seq, event in items:
                self._receive(seq, event)
                if time.monotonic() > until:
                    # A full inbox never waits: keys and painting must have their turn.
                    await asyncio.sleep(0)
                    until = time.monotonic() + SLICE_SECONDS

    def _receive(self, seq: int, event: AnyEvent | Snapshot) -> None:
        if isinstance(event, Preview):
            self._previews[event.job_id] = event
            self._schedule()
            return
        job_id = job_of(event)
        if seq and job_id in self._reading:
            self._reading[job_id].append((seq, event))
        said = notice(self.view, event)
        self._change(apply(self.view, event, time.time()))
        if said is not None:
            self._post(Noticed(*said))
        if isinstance(event, Snapshot):
            self._begin_anew()
        elif isinstance(event, JobAccepted):
            self._known.add(job_id)  # all that it tells will pass here
        elif isinstance(event, (SessionChanged, AdapterSaved, ComparisonSaved, SweepSaved, ImageSaved, VoteCast, VoteUndone)):
            self._are_sessions_stale.set()

    def _begin_anew(self) -> None:
        self._known.clear()
        self._wanted.clear()
        rows = sorted(self.view.jobs.values(), key=lambda row: row.created, reverse=True)
        for number, row in enumerate(rows):
            if number < NUM_REMEMBERED or row.state in OPEN:
                self.remember(row.id)

    async def _read_histories(self, client: Daemon) -> None:
        while True:
            while self._wanted:
                job_id = self._wanted.popleft()
                try:
                    await self._read_history(client, job_id)
                except NegError as error:
                    if error.detail.retryable:
                        self._wanted.appendleft(job_id)
                        await asyncio.sleep(RETRY_SECONDS)
                        continue
                    self._post(Noticed(f"The history of job {job_id} could not be read: {error}", "warning"))
            self._wake.clear()
            await self._wake.wait()

    async def _read_history(self, client: Daemon, job_id: str) -> None:
        history, since = View(), 0
        self._reading[job_id] = []
        try:
            while True:
                page = await client.request(ReadEvents(job_id=job_id, since_seq=since, limit=1000))
                if not isinstance(page, StoredEvents) or not page.seqs:
                    break
                for when, body in zip(page.times, page.events, strict=True):
                    recall(history, codec.decode_event(body), when)
                since = page.seqs[-1]
                await asyncio.sleep(0)
            self._change(adopt(self.view, job_id, history))
            for seq, event in self._reading[job_id]:
                if seq > since:
                    self._change(apply(self.view, event, time.time()))
            self._known.add(job_id)
        finally:
            del self._reading[job_id]

    async def _list_sessions(self, client: Daemon) -> None:
        """The list again after something changed in a session, at most once a second."""
        while True:
            await self._are_sessions_stale.wait()
            self._are_sessions_stale.clear()
            try:
                answer = await client.request(ListSessions())
                if isinstance(answer, Sessions):
                    self.take(answer)
            except NegError as error:
                self._post(Noticed(f"The sessions could not be listed: {error}", "warning"))
            await asyncio.sleep(SESSIONS_SECONDS)

    async def _listen(self, client: Daemon) -> None:
        """Say so when the daemon answers no more though its line is there, and when it does again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            is_silent = client.silent_seconds > SILENT_SECONDS
            state = self.view.connection.state
            if is_silent and state == "connected":
                self._contact("lost", "The daemon does not answer.")
            elif not is_silent and state == "lost" and self._is_in_contact:
                self._on_contact(True, "")

    _is_in_contact = False

    def _on_contact(self, is_connected: bool, reason: str) -> None:
        self._is_in_contact = is_connected
        if is_connected and self.client is not None:
            self._contact("connected", "")
        elif not is_connected:
            self._contact("lost", reason)

    def _contact(self, state: str, reason: str) -> None:
        known, welcome = self.view.connection, self.client.welcome if self.client else None
        if known.state == state and known.reason == reason:
            return
        # How long it is lost counts from the first word of it, whatever else is said later.
        since = known.since if known.state == state == "lost" else time.time()
        version, protocol = (welcome.version, welcome.protocol) if welcome else (known.version, known.protocol)
        self.take(Connection(state, since, self._endpoint, reason, version, protocol))  # type: ignore[arg-type]

    def _change(self, names: frozenset[str]) -> None:
        if names:
            self._changed |= names
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._flushed + FLUSH_SECONDS - loop.time()), self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._flushed = asyncio.get_running_loop().time()
        changed, self._changed = self._changed, frozenset()
        previews, self._previews = self._previews, {}
        if changed:
            self._post(ViewChanged(changed))
        for preview in previews.values():
            self._post(PreviewArrived(preview))


def job_of(event: AnyEvent | Snapshot) -> str:
    """The id of the job that an event is of; empty: of none."""
    if isinstance(event, (JobAccepted, JobStateChanged)):
        return event.job.id
    return getattr(event, "job_id", "")
