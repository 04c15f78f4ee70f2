"""Gives jobs to workers. What runs is decided by the table of jobs alone, looked at anew after every change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from daemon.jobs import moves, runs
from daemon.jobs.executor import Executor
from daemon.jobs.queue import JobQueue
from daemon.jobs.room import RoomWatch
from daemon.jobs.seldom import Seldom
from daemon.jobs.slot import Hooks, Policy, Slot, Unit
from daemon.protocol.errors import NegError
from daemon.protocol.events import EphemeralEvent, JobRow, Residents
from daemon.protocol.link import DropModels, HoldModel
from daemon.protocol.orders import Order
from daemon.store import jobs
from daemon.store.jobs import Wanted

TICK_SECONDS = 1.0
STOP_SECONDS = 5.0
logger = logging.getLogger(__name__)


def log_failure(error: BaseException) -> None:
    """The default answer to a failure of the scheduler itself."""
    logger.critical("The scheduler failed and runs nothing any more; restart the daemon.", exc_info=error)


class Scheduler:
    """Start it once the store is open; `close` it before the store. `on_failure` is told if it ever fails itself."""

    def __init__(
        self,
        queue: JobQueue,
        executor: Executor,
        policy: Policy | None = None,
        *,
        on_failure: Callable[[BaseException], None] = log_failure,
    ) -> None:
        self._queue = queue
        self._policy = policy or Policy()
        self._on_failure = on_failure
        self._wake = asyncio.Event()
        self._room = RoomWatch(queue, self._policy.poll_seconds)
        hooks = Hooks(self._wake.set, self._pass_on, self._room.note)
        self._slots = [Slot(name, queue, executor, self._policy, hooks) for name in executor.names]
        self._starting = asyncio.Lock()
        self._no_start, self._no_unblocking = Seldom(), Seldom()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._ephemeral_listeners: list[Callable[[EphemeralEvent], None]] = []
        self._remove_listener: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Recover what an earlier daemon left, then start workers and jobs. Raises `NegError` where the store cannot be written."""
        await self._queue.move(runs.recover)
        self._remove_listener = self._queue.add_listener(self._wake.set)
        self._wake.set()
        self._tasks = [asyncio.create_task(slot.run(), name=f"worker {slot.name}") for slot in self._slots]
        self._tasks.append(asyncio.create_task(self._control(), name="scheduler"))
        for task in self._tasks:
            task.add_done_callback(self._note_end)

    async def close(self, drain_seconds: float = 60.0) -> None:
        """Drain: running jobs stop at their next step and go back to the queue, then the workers leave."""
        if self._closing:
            return
        self._closing = True
        async with self._starting:
            for slot in self._slots:
                slot.begin_closing()
        self._wake.set()
        await self._idle(drain_seconds)
        await asyncio.gather(*(slot.stop(STOP_SECONDS) for slot in self._slots))
        await asyncio.wait(self._tasks[:-1], timeout=STOP_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._remove_listener()

    def workers(self) -> dict[str, str]:
        """State of each worker: starting, ready, busy, lost, stopped."""
        return {slot.name: slot.state for slot in self._slots}

    def worker_pids(self) -> dict[str, int]:
        """Process ids of the living workers."""
        return {slot.name: slot.pid for slot in self._slots if slot.pid is not None}

    def add_ephemeral_listener(self, listener: Callable[[EphemeralEvent], None]) -> Callable[[], None]:
        """Call `listener(event)` in the loop for each step progress and preview. Returns what removes it."""
        self._ephemeral_listeners.append(listener)
        return lambda: self._ephemeral_listeners.remove(listener)

    async def order(self, job_id: str, order: Order) -> JobRow:
        """Pass an order to the worker that runs a training. Raises `NegError` `not_found`, `conflict`."""
        # Within the lock a job that is running has its worker already.
        async with self._starting:
            row = await self._queue.store.read(lambda connection: moves.find_running_training(connection, job_id))
            if any(slot.order(job_id, order) for slot in self._slots):
                return row
        name = moves.name_of(row)
        raise NegError("conflict", f"{name} is just stopping, or has lost its worker.", "Look where it is: negtui jobs.", retryable=True)

    def hold(self, message: HoldModel | DropModels) -> tuple[str, ...]:
        """Have every idle worker hold a model in memory, or give it back; the names of those it is on its way to."""
        return tuple(slot.name for slot in self._slots if slot.hold(message))

    def residents(self) -> tuple[Residents, ...]:
        """What lies in each worker's memory, as it told last."""
        return tuple(slot.residents for slot in self._slots)

    def watch_previews(self, wanted: bool) -> None:
        """Say whether anybody looks at previews; they are not made otherwise."""
        for slot in self._slots:
            if slot.previews_wanted != wanted:
                slot.watch_previews(wanted)

    async def _control(self) -> None:
        polled = ticked = time.monotonic()
        while True:
            woken = await self._woken()
            now = time.monotonic()
            for slot in self._slots:
                # A front that was stopped itself must not judge.
                slot.forgive(now) if now - ticked > 5 * TICK_SECONDS else slot.end_if_hung(now)
            ticked = now
            if now - polled >= self._policy.poll_seconds:
                polled = now
                woken = await self._look_for_room() or woken
            if woken:
                await self._interrupt_unwanted()
                await self._start_jobs()

    async def _woken(self) -> bool:
        try:
            async with asyncio.timeout(min(TICK_SECONDS, self._policy.poll_seconds)):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    async def _look_for_room(self) -> bool:
        try:
            changed = await self._room.look(self._slots)
        except NegError as error:
            if error.detail.code != "disk_full":
                raise
            if self._no_unblocking.is_due():
                logger.warning("Jobs could not be unblocked: %s", error)
            return False
        self._no_unblocking.over()
        return changed

    async def _interrupt_unwanted(self) -> None:
        for slot in self._slots:
            if slot.unit is not None:
                slot.interrupt(await self._wanted(slot.unit))

    async def _wanted(self, unit: Unit) -> Wanted:
        stored = await self._queue.store.read(lambda connection: jobs.by_id(connection, unit.job.id))
        if stored is not None and stored.wanted != "run":
            return stored.wanted
        return "pause" if self._closing or unit.no_room else "run"

    async def _start_jobs(self) -> None:
        for slot in self._slots:
            async with self._starting:
                if self._closing or not slot.is_ready:
                    continue
                try:
                    job = await self._queue.store.write(runs.start_next)
                except NegError as error:
                    if error.detail.code != "disk_full":
                        raise
                    if self._no_start.is_due():
                        logger.warning("No job can be started: %s", error)
                    return
                self._no_start.over()
                if job is None:
                    return
                await slot.give(job)

    async def _idle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for slot in self._slots:
                    await slot.idle.wait()

    def _pass_on(self, event: EphemeralEvent) -> None:
        for listener in tuple(self._ephemeral_listeners):
            listener(event)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._on_failure(error)
