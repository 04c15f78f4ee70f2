"""Room on the disk: who must stop for want of it, and who may go on now that there is some."""

from __future__ import annotations

import time
from collections.abc import Iterable

from daemon.jobs.queue import JobQueue
from daemon.jobs.slot import Slot
from daemon.protocol.events import JobRow
from daemon.store import jobs

MAX_WAIT_SECONDS = 300.0


class RoomWatch:
    """Looks at free room when asked to. A job that found no room again is let on less and less often."""

    def __init__(self, queue: JobQueue, poll_seconds: float) -> None:
        self._queue = queue
        self._poll_seconds = poll_seconds
        self._waits: dict[str, tuple[float, float]] = {}

    async def look(self, slots: Iterable[Slot]) -> bool:
        """Mark units for which room is too short, unblock jobs if there is enough; returns whether anything changed."""
        free, limits = self._queue.free_bytes(), self._queue.limits
        changed = False
        for slot in slots:
            if slot.unit is not None and not slot.unit.no_room and free < limits.min_free_bytes:
                slot.unit.no_room = f"Only {free / 2**20:.0f} MiB are free on the disk."
                changed = True
        if free >= limits.resume_free_bytes:
            changed = await self._unblock() or changed
        return changed

    def note(self, row: JobRow) -> None:
        """A run ended as this row: blocked, its wait begins anew; otherwise it is forgotten."""
        if row.state == "blocked":
            _, wait = self._waits.get(row.id, (0.0, self._poll_seconds))
            self._waits[row.id] = (time.monotonic(), wait)
        else:
            self._waits.pop(row.id, None)

    async def _unblock(self) -> bool:
        blocked = await self._queue.store.read(lambda connection: jobs.in_states(connection, "blocked"))
        return any(
            [await self._queue.unblock(job.row.id) is not None for job in blocked if job.blocked_by == "disk" and self._is_due(job.row.id)]
        )

    def _is_due(self, job_id: str) -> bool:
        # There may be room, and yet too little for this job, or a quota.
        now = time.monotonic()
        since, wait = self._waits.get(job_id, (float("-inf"), self._poll_seconds))
        if now - since < wait:
            return False
        self._waits[job_id] = (now, min(2 * wait, MAX_WAIT_SECONDS))
        return True
