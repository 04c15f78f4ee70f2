"""Rows of the job table: read, added, saved. What moves are legal is not known here.

All functions work in the transaction at hand.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

import msgspec

from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import JobRow
from daemon.protocol.specs import JobSpec

Wanted = Literal["run", "pause", "cancel"]
BlockedBy = Literal["", "dependency", "disk"]

_encoder = msgspec.msgpack.Encoder()
_spec_decoder = msgspec.msgpack.Decoder(JobSpec)
_error_decoder = msgspec.msgpack.Decoder(ErrorDetail)
_after_decoder = msgspec.msgpack.Decoder(tuple[str, ...])
_timings_decoder = msgspec.msgpack.Decoder(dict[str, float])

COLUMNS = (
    "id, key, spec_sha256, spec, state, wanted, blocked_by, reason, error, priority, after, fence, deaths, "
    "created, started, finished, timings"
)


class StoredJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job with what clients need not see: the state its person wants, what blocks it, how often its worker died under it."""

    row: JobRow
    spec_sha256: str
    wanted: Wanted = "run"
    blocked_by: BlockedBy = ""
    deaths: int = 0
    """Workers that ended under it since its last new durable event."""


def add(connection: sqlite3.Connection, job: StoredJob) -> None:
    """Insert a job that is not there yet, and its dependencies."""
    values = (*_values(job), job.row.spec.session)
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO job ({COLUMNS}, session) VALUES ({marks})", values)  # noqa: S608 - constants
    connection.executemany("INSERT INTO dependency VALUES (?, ?)", [(job.row.id, after) for after in dict.fromkeys(job.row.after)])


def save(connection: sqlite3.Connection, job: StoredJob) -> None:
    """Write a job back."""
    connection.execute(
        """UPDATE job SET state = ?, wanted = ?, blocked_by = ?, reason = ?, error = ?, priority = ?, fence = ?, deaths = ?,
        started = ?, finished = ?, timings = ? WHERE id = ?""",
        (
            job.row.state,
            job.wanted,
            job.blocked_by,
            job.row.reason,
            _error(job),
            job.row.priority,
            job.row.fence,
            job.deaths,
            job.row.started,
            job.row.finished,
            _encoder.encode(job.row.timings),
            job.row.id,
        ),
    )


def by_id(connection: sqlite3.Connection, job_id: str) -> StoredJob | None:
    """The job of that id."""
    return _one(connection, "WHERE id = ?", job_id)


def by_key(connection: sqlite3.Connection, key: str) -> StoredJob | None:
    """The job submitted under that key."""
    return _one(connection, "WHERE key = ?", key)


def newest(connection: sqlite3.Connection, session: str | None, limit: int) -> list[StoredJob]:
    """The newest `limit` jobs, of one session or of all, oldest first."""
    where, arguments = ("", ()) if session is None else ("WHERE session = ?", (session,))
    return _many(connection, f"{where} ORDER BY position DESC LIMIT ?", *arguments, limit)[::-1]


def in_states(connection: sqlite3.Connection, *states: str) -> list[StoredJob]:
    """Jobs in any of the states, oldest first."""
    return _many(connection, f"WHERE state IN ({', '.join('?' * len(states))}) ORDER BY position", *states)


def dependents(connection: sqlite3.Connection, job_id: str) -> list[StoredJob]:
    """Jobs that name this one in `after`, oldest first."""
    return _many(connection, "WHERE id IN (SELECT job_id FROM dependency WHERE after_id = ?) ORDER BY position", job_id)


def next_ready(connection: sqlite3.Connection) -> StoredJob | None:
    """The queued job to start now: highest priority, then oldest; its dependencies done, and no other job of its session running."""
    return _one(
        connection,
        """WHERE state = 'queued'
        AND session NOT IN (SELECT session FROM job WHERE state IN ('running', 'pausing'))
        AND NOT EXISTS (SELECT 1 FROM dependency JOIN job AS earlier ON earlier.id = after_id
                        WHERE job_id = job.id AND earlier.state <> 'done')
        ORDER BY priority DESC, position LIMIT 1""",
    )


def _one(connection: sqlite3.Connection, where: str, *arguments: object) -> StoredJob | None:
    found = _many(connection, where, *arguments)
    return found[0] if found else None


def _many(connection: sqlite3.Connection, where: str, *arguments: object) -> list[StoredJob]:
    return [_decode(row) for row in connection.execute(f"SELECT {COLUMNS} FROM job {where}", arguments)]  # noqa: S608 - constants


def _values(job: StoredJob) -> tuple[object, ...]:
    row = job.row
    return (
        row.id,
        row.key,
        job.spec_sha256,
        _encoder.encode(row.spec),
        row.state,
        job.wanted,
        job.blocked_by,
        row.reason,
        _error(job),
        row.priority,
        _encoder.encode(row.after),
        row.fence,
        job.deaths,
        row.created,
        row.started,
        row.finished,
        _encoder.encode(row.timings),
    )


def _error(job: StoredJob) -> bytes | None:
    return None if job.row.error is None else _encoder.encode(job.row.error)


def _decode(values: tuple[Any, ...]) -> StoredJob:
    (job_id, key, spec_sha256, spec, state, wanted, blocked_by, reason, error, priority, after, fence, deaths, *times, timings) = values
    created, started, finished = times
    row = JobRow(
        id=job_id,
        key=key,
        spec=_spec_decoder.decode(spec),
        state=state,
        reason=reason,
        error=None if error is None else _error_decoder.decode(error),
        priority=priority,
        after=_after_decoder.decode(after),
        fence=fence,
        created=created,
        started=started,
        finished=finished,
        timings=_timings_decoder.decode(timings),
    )
    return StoredJob(row=row, spec_sha256=spec_sha256, wanted=wanted, blocked_by=blocked_by, deaths=deaths)
