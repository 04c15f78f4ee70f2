"""The log of durable events: one `seq` per store without holes, each fact once, none from an outlived start of its job."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from daemon.protocol.codec import encode
from daemon.protocol.events import DurableEvent, JobAccepted, JobStateChanged, Logged
from daemon.store.db import Store


class StoredEvent(msgspec.Struct, frozen=True):
    """`body` is the encoded event, as it goes on the wire. `time`: Unix seconds."""

    seq: int
    time: float
    body: bytes


class Fence(NamedTuple):
    """The start of a job under which something was told."""

    job_id: str
    number: int


class EventLog:
    """Append to and read from the log of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def head_seq(self) -> int:
        return self._store.head_seq

    @property
    def min_seq(self) -> int:
        return self._store.min_seq

    async def append(self, event: DurableEvent, *, fence: Fence | None = None) -> int | None:
        """Store an event; returns its seq once durable, or None where the job told it before or `fence` is not its current start's."""
        return await self.enqueue(event, fence=fence)

    def enqueue(self, event: DurableEvent, *, fence: Fence | None = None) -> asyncio.Future[int | None]:
        """As `append`, at once in line: events are stored in the order of the calls."""
        # A job on a full disk must not eat the reserve, or there is no room to store that it is blocked; it tells all again.
        return self._store.enqueue(lambda connection: insert(connection, event, fence=fence), spends_reserve=fence is None)

    async def read(self, since_seq: int, limit: int = 500, job_id: str | None = None) -> list[StoredEvent]:
        """Up to `limit` events after `since_seq`, oldest first, of one job or of all."""
        return await self._store.read(lambda connection: select(connection, since_seq, limit, job_id))

    def add_listener(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call `listener(head_seq)` in the loop after each commit that added events. Returns what removes it."""
        return self._store.add_listener(listener)


def job_id_of(event: DurableEvent) -> str | None:
    """The job an event belongs to, if any."""
    if isinstance(event, (JobAccepted, JobStateChanged)):
        return event.job.id
    job_id: str | None = getattr(event, "job_id", None)
    return job_id


def insert(connection: sqlite3.Connection, event: DurableEvent, *, fence: Fence | None = None) -> int | None:
    """Add an event in the transaction at hand; returns its seq, or None for a duplicate or a stale fence.

    A new keyed event told under a fence is progress: the deaths counted against its job are forgiven.
    """
    job_id, body = job_id_of(event), encode(event)
    if fence is not None and not _is_current(connection, fence):
        return None
    cursor = connection.execute(
        "INSERT OR IGNORE INTO event VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM event), ?, ?, ?, ?, ?, ?)",
        (time.time(), job_id, type(event).__name__, event.key, body, zlib.crc32(body)),
    )
    if cursor.rowcount == 0:
        return None
    if fence is not None and event.key is not None:
        connection.execute("UPDATE job SET deaths = 0 WHERE id = ? AND deaths > 0", (fence.job_id,))
    return cursor.lastrowid


def select(connection: sqlite3.Connection, since_seq: int, limit: int, job_id: str | None) -> list[StoredEvent]:
    """Events after `since_seq`; one whose checksum fails is replaced by a `Logged` error under the same seq."""
    where, arguments = ("", ()) if job_id is None else ("AND job_id = ?", (job_id,))
    rows = connection.execute(
        f"SELECT seq, time, job_id, body, crc32 FROM event WHERE seq > ? {where} ORDER BY seq LIMIT ?",  # noqa: S608 - a constant
        (since_seq, *arguments, limit),
    )
    return [StoredEvent(seq, told, _checked(seq, of_job, body, crc32)) for seq, told, of_job, body, crc32 in rows]


def _checked(seq: int, job_id: str | None, body: bytes, crc32: int) -> bytes:
    if zlib.crc32(body) == crc32:
        return body
    return encode(Logged(job_id=job_id or "", level="error", message=f"Event {seq} is damaged in the database and left out."))


def _is_current(connection: sqlite3.Connection, fence: Fence) -> bool:
    row = connection.execute("SELECT fence, state FROM job WHERE id = ?", (fence.job_id,)).fetchone()
    return row is not None and row[0] == fence.number and row[1] in ("running", "pausing")
