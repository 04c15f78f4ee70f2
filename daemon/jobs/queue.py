"""The queue of jobs, as the front uses it: every answer is given after its commit, and the scheduler is told of every change."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from daemon.config import environment_number
from daemon.jobs import moves, runs
from daemon.jobs.states import Outcome
from daemon.protocol.commands import Submit, Submitted
from daemon.protocol.errors import ErrorDetail, NegError
from daemon.protocol.events import JobRow
from daemon.store import jobs
from daemon.store.db import Store
from daemon.store.events import EventLog

T = TypeVar("T")
GIB = 2**30


@dataclass(frozen=True)
class DiskLimits:
    """Below `min_free_bytes` nothing new is accepted and running jobs are blocked; above `resume_free_bytes` they go on."""

    min_free_bytes: int = 2 * GIB
    resume_free_bytes: int = 4 * GIB

    @classmethod
    def configured(cls) -> DiskLimits:
        """`NEGTUI_MIN_FREE_MIB` sets the lower bound; the upper is twice that."""
        lower = int(environment_number("NEGTUI_MIN_FREE_MIB", 2048) * 2**20)
        return cls(lower, 2 * lower)


class JobQueue:
    """Submit, steer and list jobs."""

    def __init__(self, store: Store, log: EventLog, sessions_path: Path, limits: DiskLimits | None = None) -> None:
        self.store = store
        self.log = log
        self.sessions_path = sessions_path
        self.limits = limits or DiskLimits.configured()
        self._listeners: list[Callable[[], None]] = []

    async def submit(self, command: Submit) -> Submitted:
        """Queue a job. Raises `NegError`: `conflict`, `not_found` (session or dependency), `disk_full`."""
        known = await self.store.read(lambda connection: moves.find_replayed(connection, command))
        if known is not None:
            return Submitted(job=known, replayed=True)
        session = command.spec.session
        if not (self.sessions_path / session).is_dir():
            raise NegError("not_found", f"There is no session {session!r}.", "`negtui new` makes one.")
        self._require_room()
        job, replayed = await self.store.write(lambda connection: moves.submit(connection, command))
        self._changed()
        return Submitted(job=job, replayed=replayed)

    async def cancel(self, job_id: str) -> JobRow:
        """Want a job cancelled. Raises `NegError` `not_found`, `wrong_state`."""
        return await self.move(lambda connection: moves.cancel(connection, job_id))

    async def pause(self, job_id: str) -> JobRow:
        """Want a job paused. Raises `NegError` `not_found`, `wrong_state`."""
        return await self.move(lambda connection: moves.pause(connection, job_id))

    async def resume(self, job_id: str) -> JobRow:
        """Want a job run. Raises `NegError` `not_found`, `wrong_state`."""
        return await self.move(lambda connection: moves.resume(connection, job_id))

    async def prioritise(self, job_id: str, priority: int) -> JobRow:
        """Set a job's priority. Raises `NegError` `not_found`."""
        return await self.move(lambda connection: moves.prioritise(connection, job_id, priority))

    async def job(self, job_id: str) -> JobRow:
        """One job. Raises `NegError` `not_found`."""
        return (await self.store.read(lambda connection: moves.find(connection, job_id))).row

    async def jobs(self, session: str | None = None, limit: int = 1000) -> list[JobRow]:
        """The newest `limit` jobs, of one session or of all, oldest first."""
        found = await self.store.read(lambda connection: jobs.newest(connection, session, limit))
        return [job.row for job in found]

    async def move(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """Change jobs in one transaction, then tell the scheduler."""
        result = await self.store.write(run)
        self._changed()
        return result

    async def end(
        self,
        job_id: str,
        fence: int,
        outcome: Outcome,
        error: ErrorDetail | None,
        timings: dict[str, float],
        reason: str,
        no_room: str,
    ) -> JobRow | None:
        """A run ended; see `runs.end`."""
        return await self.move(lambda c: runs.end(c, job_id, fence, outcome, error=error, timings=timings, reason=reason, no_room=no_room))

    async def lose(self, job_id: str, fence: int, evidence: str, max_deaths: int | None) -> JobRow | None:
        """A worker was lost under a job, and that counts if `max_deaths` is given; see `runs.lose`."""
        return await self.move(lambda c: runs.lose(c, job_id, fence, evidence, max_deaths))

    async def unblock(self, job_id: str) -> JobRow | None:
        """There is room again; see `runs.unblock`."""
        return await self.move(lambda c: runs.unblock(c, job_id))

    def add_listener(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` in the loop after each change of jobs. Returns what removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def free_bytes(self) -> int:
        """Room on the fuller one of the disks of sessions and database."""
        folders = (self.sessions_path, self.store.path.parent)
        return min(shutil.disk_usage(folder).free for folder in folders if folder.is_dir())

    def _require_room(self) -> None:
        free = self.free_bytes()
        if free < self.limits.min_free_bytes:
            raise NegError(
                "disk_full",
                f"Only {free / 2**20:.0f} MiB are free, {self.limits.min_free_bytes / 2**20:.0f} MiB are kept as a reserve.",
                "Free some room, then submit again; or set NEGTUI_MIN_FREE_MIB.",
                retryable=True,
            )

    def _changed(self) -> None:
        for listener in tuple(self._listeners):
            listener()
