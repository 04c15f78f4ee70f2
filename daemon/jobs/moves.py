"""What people may do to a job, each within the transaction at hand: row, dependents and events change together or not at all."""

from __future__ import annotations

import secrets
import sqlite3
import time
from typing import Any

import msgspec

from daemon.jobs.states import AT_WORK, HOPELESS, require_move
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.commands import Submit
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobAccepted, JobRow, JobStateChanged, State
from daemon.protocol.specs import TrainJob
from daemon.store import events, jobs
from daemon.store.jobs import StoredJob, Wanted

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_job_id() -> str:
    """16 characters: 9 of time in milliseconds, so that ids sort by age, and 7 of chance."""
    number = (time.time_ns() // 1_000_000 % (1 << 45)) << 35 | secrets.randbits(35)
    return "".join(ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))


def find(connection: sqlite3.Connection, job_id: str) -> StoredJob:
    """The job, or `NegError` `not_found`."""
    job = jobs.by_id(connection, job_id)
    if job is None:
        raise NegError("not_found", f"There is no job {job_id}.", "`negtui jobs` lists them.")
    return job


def find_running_training(connection: sqlite3.Connection, job_id: str) -> JobRow:
    """The job, if orders can be given to it; raises `NegError` `not_found`, or `conflict` where it is no training that runs now."""
    row = find(connection, job_id).row
    if not isinstance(row.spec, TrainJob):
        raise NegError("conflict", f"{name_of(row)} is no training.", "Only a training takes orders while it runs.")
    if row.state != "running":
        hints = {"done": "Its adapter is finished.", "queued": "Give the order once it runs.", "pausing": "It stops at its next step."}
        hint = hints.get(row.state, "`negtui resume` lets it run; give the order then.")
        raise NegError("conflict", f"{name_of(row)} does not run, it is {row.state}.", hint)
    return row


def find_replayed(connection: sqlite3.Connection, command: Submit) -> JobRow | None:
    """The job this very submission made before, if it did; raises `NegError` `conflict` where its key was used for another."""
    known = jobs.by_key(connection, command.key)
    if known is None:
        return None
    if known.spec_sha256 != _spec_sha256(command):
        raise NegError("conflict", f"The key {command.key} was used for another job ({known.row.id}).", "Use a new key.")
    return known.row


def submit(connection: sqlite3.Connection, command: Submit) -> tuple[JobRow, bool]:
    """Add a job with its `JobAccepted`. Returns (job, replayed); raises `NegError` `conflict`, `not_found`."""
    known = find_replayed(connection, command)
    if known is not None:
        return known, True
    after = tuple(dict.fromkeys(command.after))
    blocked, reason = _waiting(connection, after)
    row = JobRow(
        id=new_job_id(),
        key=command.key,
        spec=command.spec,
        state="blocked" if blocked else "queued",
        reason=reason,
        priority=command.priority,
        after=after,
        created=time.time(),
    )
    jobs.add(connection, StoredJob(row=row, spec_sha256=_spec_sha256(command), blocked_by="dependency" if blocked else ""))
    events.insert(connection, JobAccepted(job=row))
    return row, False


def cancel(connection: sqlite3.Connection, job_id: str) -> JobRow:
    """Want it cancelled: at once if it does not run, else at its next step. Raises `NegError` `not_found`, `wrong_state`."""
    job = find(connection, job_id)
    if job.row.state in AT_WORK:
        return _ask(connection, job, "cancel", "stops at its next step, then is cancelled")
    if job.row.state == "cancelled":
        return job.row
    return change(connection, job, "cancelled", wanted="cancel", finished=time.time())


def pause(connection: sqlite3.Connection, job_id: str) -> JobRow:
    """Want it paused: at once if it does not run, else at its next step. Raises `NegError` `not_found`, `wrong_state`."""
    job = find(connection, job_id)
    if job.row.state in AT_WORK:
        return _ask(connection, job, "pause", "stops at its next step, then is paused")
    return change(connection, job, "paused", wanted="pause", reason="paused by hand")


def resume(connection: sqlite3.Connection, job_id: str) -> JobRow:
    """Want it run: back to the queue with a clean record, or blocked if what it waits for cannot come. Raises as `pause`."""
    job = find(connection, job_id)
    if job.row.state in AT_WORK:
        return change(connection, job, "running", wanted="run")
    if job.row.state == "done":
        raise NegError("wrong_state", f"{name_of(job.row)} is done.", "Nothing is left to resume.")
    return queue_again(connection, job, deaths=0)


def prioritise(connection: sqlite3.Connection, job_id: str, priority: int) -> JobRow:
    """Set the priority; the highest runs first. Raises `NegError` `not_found`."""
    job = find(connection, job_id)
    return _store(connection, job, msgspec.structs.replace(job, row=msgspec.structs.replace(job.row, priority=priority)))


def queue_again(connection: sqlite3.Connection, job: StoredJob, *, reason: str = "", deaths: int | None = None) -> JobRow:
    """Back to the queue, or to `blocked` where a dependency failed; clears error and end."""
    blocked, waiting = _waiting(connection, job.row.after)
    return change(
        connection,
        job,
        "blocked" if blocked else "queued",
        reason=waiting or reason,
        blocked_by="dependency" if blocked else "",
        wanted="run",
        error=None,
        finished=None,
        deaths=job.deaths if deaths is None else deaths,
    )


def change(connection: sqlite3.Connection, job: StoredJob, state: State, **changes: Any) -> JobRow:
    """Move a job, tell it, and let those that wait for it follow. `changes` are fields of `JobRow` or `StoredJob`.

    Reason and block are cleared unless given. Raises `NegError` `wrong_state`.
    """
    require_move(job.row.state, state)
    changes = {"reason": "", "blocked_by": ""} | changes
    kept = {name: changes.pop(name) for name in ("wanted", "blocked_by", "deaths") if name in changes}
    row = msgspec.structs.replace(job.row, state=state, **changes)
    stored = _store(connection, job, msgspec.structs.replace(job, row=row, **kept))
    if state != job.row.state:
        _settle_dependents(connection, row.id)
    return stored


def name_of(row: JobRow) -> str:
    """How a job is named in sentences: `train job 01jd...`."""
    return f"{row.spec.__struct_config__.tag} job {row.id}"


def _ask(connection: sqlite3.Connection, job: StoredJob, wanted: Wanted, reason: str) -> JobRow:
    return change(connection, job, "pausing", wanted=wanted, reason=reason)


def _store(connection: sqlite3.Connection, old: StoredJob, new: StoredJob) -> JobRow:
    if new != old:
        jobs.save(connection, new)
    if new.row != old.row:
        events.insert(connection, JobStateChanged(job=new.row))
    return new.row


def _settle_dependents(connection: sqlite3.Connection, job_id: str) -> None:
    for job in jobs.dependents(connection, job_id):
        if job.row.state == "queued" or (job.row.state == "blocked" and job.blocked_by == "dependency"):
            queue_again(connection, job)


def _waiting(connection: sqlite3.Connection, after: tuple[str, ...]) -> tuple[bool, str]:
    """Whether what a job waits for cannot come by itself, and for what it waits, in words."""
    reason = ""
    for job_id in after:
        job = find(connection, job_id)
        if job.row.state in HOPELESS or (job.row.state == "blocked" and job.blocked_by == "dependency"):
            return True, f"waits for {name_of(job.row)}, which is {job.row.state}; resume that one first"
        if job.row.state != "done" and not reason:
            reason = f"waits for {name_of(job.row)}"
    return False, reason


def _spec_sha256(command: Submit) -> str:
    return canonical_sha256(command.spec)
