"""What every command is given: its options, where to print, and a way to the daemon."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from daemon.protocol.commands import AnyCommand, Jobs, ListJobs, ReadEvents, Result, StoredEvents, Submitted, Welcome
from daemon.protocol.errors import NegError
from daemon.protocol.events import AnyEvent, JobRow
from daemon.protocol.fields import Name
from daemon.protocol.specs import JobSpec
from negtui.config import Settings
from negtui.output import Output

R = TypeVar("R", bound=Result)


class Told(NamedTuple):
    """An event as it arrived: its `seq` (0: ephemeral) and Unix time."""

    seq: int
    time: float
    event: AnyEvent


class Daemon(Protocol):
    """What commands need of a connection. All raise `NegError`."""

    @property
    def welcome(self) -> Welcome: ...

    async def request(self, command: AnyCommand) -> Result: ...

    async def submit(self, spec: JobSpec, after: tuple[str, ...] = ()) -> Submitted:
        """Submit under a fresh key that is kept until the daemon has answered."""

    def events(self, since_seq: int) -> AsyncIterator[Told]:
        """Durable events after `since_seq`, and ephemeral ones, until the caller has enough. Raises `Unreachable`."""

    async def close(self) -> None: ...


Connect = Callable[[Settings, bool, Callable[[str], None]], Awaitable[Daemon]]
"""(settings, whether to start a daemon where none runs, where to tell of lost connections) -> a connection; raises `Unreachable`."""


class Unreachable(NegError):
    """No daemon answers."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("not_found", message, hint, retryable=True)


@dataclass(frozen=True)
class Invocation:
    """One call of the command line."""

    settings: Settings
    output: Output
    connect: Connect

    @asynccontextmanager
    async def daemon(self, start: bool = True) -> AsyncGenerator[Daemon, None]:
        """A connection for the length of a block; `start` makes a daemon run where none does."""
        daemon = await self.connect(self.settings, start, self.output.note)
        try:
            yield daemon
        finally:
            await daemon.close()


async def ask(daemon: Daemon, command: AnyCommand, expected: type[R]) -> R:
    """Send a command and return its result, which must be of its own kind."""
    result = await daemon.request(command)
    if not isinstance(result, expected):
        raise NegError(
            "incompatible", f"{type(command).__name__} was answered with {type(result).__name__}.", "Use the same version on both sides."
        )
    return result


def session_name(text: str) -> str:
    """`text`, if it may name a session; raises `NegError` `invalid`."""
    try:
        return msgspec.convert(text, Name)
    except msgspec.ValidationError:
        hint = "Use a-z 0-9 . _ -, a letter or digit first, at most 63 characters."
        raise NegError("invalid", f"{text!r} cannot name a session.", hint) from None


async def find_job(daemon: Daemon, prefix: str) -> JobRow:
    """The job whose id begins with `prefix`. Raises `NegError` `not_found` or `invalid` where several do."""
    rows = (await ask(daemon, ListJobs(limit=10_000), Jobs)).jobs
    found = [row for row in rows if row.id == prefix] or [row for row in rows if row.id.startswith(prefix.lower())]
    if not found:
        raise NegError("not_found", f"There is no job {prefix!r}.", "`negtui jobs` lists them.")
    if len(found) > 1:
        ids = ", ".join(row.id for row in found[:5])
        raise NegError(
            "invalid", f"{prefix!r} begins the ids of {len(found)} jobs: {ids}{', ...' if len(found) > 5 else ''}.", "Write more of the id."
        )
    return found[0]


async def stored_events(daemon: Daemon, job_id: str) -> AsyncGenerator[Told, None]:
    """All stored events of a job, oldest first."""
    from daemon.protocol import codec

    since = 0
    while True:
        page = await ask(daemon, ReadEvents(job_id=job_id, since_seq=since), StoredEvents)
        for seq, time, body in zip(page.seqs, page.times, page.events, strict=True):
            yield Told(seq, time, codec.decode_event(body))
        if not page.seqs:
            return
        since = page.seqs[-1]
