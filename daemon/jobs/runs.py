"""What the scheduler does to a job, each within the transaction at hand: start, end, lose, recover."""

from __future__ import annotations

import sqlite3
import time

import msgspec

from daemon.jobs.moves import change, queue_again
from daemon.jobs.states import AT_WORK, Outcome, after_end, after_stop
from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import JobRow
from daemon.store import jobs
from daemon.store.jobs import StoredJob

MAX_DEATHS = 3


def start_next(connection: sqlite3.Connection) -> JobRow | None:
    """Start the next ready job under a new fence, if there is one."""
    job = jobs.next_ready(connection)
    if job is None:
        return None
    return change(connection, job, "running", fence=job.row.fence + 1, started=time.time(), wanted="run")


def end(
    connection: sqlite3.Connection,
    job_id: str,
    fence: int,
    outcome: Outcome,
    *,
    error: ErrorDetail | None = None,
    timings: dict[str, float] | None = None,
    reason: str = "",
    no_room: str = "",
) -> JobRow | None:
    """A run ended as its worker says. None: it was an outlived one, and nothing happened.

    `no_room` tells in words that it was stopped, or its results could not be stored, for want of room: then it is blocked
    whatever the outcome, unless its person wants it stopped anyway. `reason` is given to a job that goes back to the queue.
    """
    job = _current(connection, job_id, fence)
    if job is None:
        return None
    job = _with_timings(job, timings or {})
    if not no_room and outcome == "failed" and error is not None and error.code == "disk_full":
        no_room = error.message
    if no_room:
        return _stop(connection, job, reason, no_room)
    state = after_end(outcome, job.wanted)
    if state in ("done", "failed"):
        return change(connection, job, state, error=error, finished=time.time(), deaths=0)
    return _stop(connection, job, reason, "")


def lose(connection: sqlite3.Connection, job_id: str, fence: int, evidence: str, max_deaths: int | None) -> JobRow | None:
    """The worker ended under a job: back to the queue, or failed after `max_deaths` without a new durable event between.

    `max_deaths` None: it was no fault of the job's. None is returned for an outlived run.
    """
    job = _current(connection, job_id, fence)
    if job is None:
        return None
    if max_deaths is None:
        return _stop(connection, job, "goes on: its worker was stopped", "")
    deaths = job.deaths + 1
    if job.wanted == "run" and deaths >= max_deaths:
        message = f"Its worker ended {deaths} times without progress between; at last it {evidence}."
        error = ErrorDetail(code="worker_lost", message=message, hint="Look at the log, then resume it: it goes on from what is on disk.")
        return change(connection, job, "failed", error=error, finished=time.time(), deaths=deaths)
    return _stop(connection, job, f"starts again: its worker {evidence}; {deaths} of at most {max_deaths} times", "", deaths=deaths)


def recover(connection: sqlite3.Connection) -> list[JobRow]:
    """What an earlier daemon left running: to where its person wants it, else to the queue, under a higher fence."""
    recovered = []
    for job in jobs.in_states(connection, *AT_WORK):
        state = after_stop(job.wanted)
        fence = job.row.fence + 1
        finished = time.time() if state == "cancelled" else None
        reason = {"queued": "goes on: the daemon was restarted", "paused": "paused by hand"}.get(state, "")
        recovered.append(change(connection, job, state, fence=fence, finished=finished, reason=reason))
    return recovered


def unblock(connection: sqlite3.Connection, job_id: str) -> JobRow | None:
    """There is room again: back to the queue, if it still is blocked for that."""
    job = jobs.by_id(connection, job_id)
    if job is None or job.row.state != "blocked" or job.blocked_by != "disk":
        return None
    return queue_again(connection, job)


def _current(connection: sqlite3.Connection, job_id: str, fence: int) -> StoredJob | None:
    job = jobs.by_id(connection, job_id)
    return job if job is not None and job.row.fence == fence and job.row.state in AT_WORK else None


def _stop(connection: sqlite3.Connection, job: StoredJob, reason: str, no_room: str, *, deaths: int | None = None) -> JobRow:
    state = after_stop(job.wanted)
    kept = job.deaths if deaths is None else deaths
    if state == "cancelled":
        return change(connection, job, state, finished=time.time(), deaths=kept)
    if state == "paused":
        return change(connection, job, state, reason="paused by hand", deaths=kept)
    if no_room:
        words = f"{no_room} It goes on by itself when there is room."
        return change(connection, job, "blocked", blocked_by="disk", reason=words, deaths=kept)
    return change(connection, job, "queued", reason=reason, deaths=kept)


def _with_timings(job: StoredJob, timings: dict[str, float]) -> StoredJob:
    """A job with this run's seconds added. Not stored by itself: the move that follows stores it."""
    sums = dict(job.row.timings)
    for phase, seconds in timings.items():
        sums[phase] = sums.get(phase, 0.0) + seconds
    return msgspec.structs.replace(job, row=msgspec.structs.replace(job.row, timings=sums))
