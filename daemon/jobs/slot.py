"""A place for one worker after another: starts it, listens to it, stores what it tells, buries it, starts the next."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import msgspec

from daemon.config import environment_number
from daemon.jobs import runs
from daemon.jobs.executor import Executor, Worker, WorkerLost
from daemon.jobs.hang import HangLimits, HangWatch
from daemon.jobs.queue import JobQueue
from daemon.jobs.seldom import Seldom
from daemon.protocol.errors import NegError
from daemon.protocol.events import DurableEvent, EphemeralEvent, JobRow, Residents, WorkerChanged
from daemon.protocol.link import (
    Alive,
    DropModels,
    FromWorker,
    HoldModel,
    InterruptUnit,
    OrderUnit,
    RunUnit,
    UnitEnded,
    UnitTold,
    WatchPreviews,
    WorkerReady,
    WorkerTold,
)
from daemon.protocol.orders import Order
from daemon.store.events import Fence
from daemon.store.jobs import Wanted

T = TypeVar("T")
WorkerState = Literal["starting", "ready", "busy", "lost", "stopped"]
MAX_UNSTORED = 64
SLOW_SECONDS = 1.0
logger = logging.getLogger(__name__)


def restart_seconds() -> tuple[float, float]:
    """A second, and `NEGTUI_LONGEST_RESTART_SECONDS`, 60 unless set."""
    return 1.0, environment_number("NEGTUI_LONGEST_RESTART_SECONDS", 60.0, least=1.0)


@dataclass(frozen=True)
class Policy:
    """How patient the scheduler is."""

    restart_seconds: tuple[float, float] = field(default_factory=restart_seconds)
    """First and longest wait before a lost worker is started again; doubled from one loss to the next without a durable event between."""
    max_deaths: int = runs.MAX_DEATHS
    poll_seconds: float = 5.0
    """How often free room is looked at."""
    hang: HangLimits = field(default_factory=HangLimits)


@dataclass(frozen=True)
class Hooks:
    """What a slot tells its scheduler: something changed; an ephemeral event; a run ended as this row."""

    wake: Callable[[], None]
    pass_on: Callable[[EphemeralEvent], None]
    ended: Callable[[JobRow], None]


@dataclass
class Unit:
    """A job under way."""

    job: JobRow
    asked: Wanted = "run"
    no_room: str = ""
    """Why it is being stopped for want of room, in words."""
    unstored_why: str = ""
    """Why some of its events could not be stored: then it is not done, whatever its worker says."""
    unstored: deque[asyncio.Future[int | None]] = field(default_factory=deque)


class Slot:
    """One worker at a time, and at most one unit on it."""

    def __init__(self, name: str, queue: JobQueue, executor: Executor, policy: Policy, hooks: Hooks) -> None:
        self.name = name
        self.state: WorkerState = "starting"
        self.unit: Unit | None = None
        self.idle = asyncio.Event()
        self.idle.set()
        self.previews_wanted = False
        self.residents = Residents(worker=name)
        self._closing = asyncio.Event()
        self._queue, self._executor, self._policy, self._hooks = queue, executor, policy, hooks
        self._worker: Worker | None = None
        self._watch = HangWatch(policy.hang, time.monotonic())
        self._listening = True
        self._ending: asyncio.Task[None] | None = None
        self._delay = 0.0

    @property
    def pid(self) -> int | None:
        """The living worker's process id."""
        return None if self._worker is None else self._worker.pid

    @property
    def is_ready(self) -> bool:
        """Whether it can take a unit now."""
        return self._worker is not None and self.state == "ready" and self.unit is None and not self.closing

    async def run(self) -> None:
        """Keep a worker here until closing; cancelled, it ends the worker."""
        try:
            await self._keep_one()
        except asyncio.CancelledError:
            if self._worker is not None:
                await self._worker.end()
            raise

    async def _keep_one(self) -> None:
        while not self.closing:
            begun = time.monotonic()
            try:
                await self._set_state("starting")
                self._worker = await self._executor.start(self.name)
                self._watch = HangWatch(self._policy.hang, time.monotonic())
                await self._listen(self._worker)
            except (WorkerLost, OSError) as error:
                await self._bury(str(error))
            shortest, longest = self._policy.restart_seconds
            lived_long = time.monotonic() - begun > longest
            self._delay = shortest if lived_long else min(max(2 * self._delay, shortest), longest)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._delay):
                    await self._closing.wait()

    @property
    def closing(self) -> bool:
        """Whether no worker is started here any more."""
        return self._closing.is_set()

    def begin_closing(self) -> None:
        """Take no unit, start no worker any more."""
        self._closing.set()

    async def give(self, job: JobRow) -> None:
        """Start a unit. A worker that was lost meanwhile, or a scheduler that closes, gives the job back to the queue."""
        unit = Unit(job)
        if not self.is_ready or self._worker is None:
            await self._lose(unit, "left before the job began", counts=False)
            return
        self.unit, worker = unit, self._worker
        self.idle.clear()
        self._watch = HangWatch(self._policy.hang, time.monotonic())
        session_path = str(self._queue.sessions_path / job.spec.session)
        worker.send(RunUnit(job_id=job.id, fence=job.fence, spec=job.spec, session_path=session_path))
        await self._set_state("busy")

    def interrupt(self, wanted: Wanted) -> None:
        """Ask the unit to stop, once for each way of stopping."""
        if self.unit is not None and self._worker is not None and wanted not in ("run", self.unit.asked):
            self.unit.asked = wanted
            self._watch.ask(time.monotonic())
            self._worker.send(InterruptUnit(job_id=self.unit.job.id, how="cancel" if wanted == "cancel" else "pause"))

    def order(self, job_id: str, order: Order) -> bool:
        """Pass an order on, if the unit of this job runs here and was not asked to stop; says whether it was."""
        if self._worker is None or self.unit is None or (self.unit.job.id, self.unit.asked) != (job_id, "run"):
            return False
        self._worker.send(OrderUnit(job_id=job_id, order=order))
        return True

    def watch_previews(self, wanted: bool) -> None:
        """Say whether previews are wanted, to this worker and those that follow."""
        self.previews_wanted = wanted
        if self._worker is not None:
            self._worker.send(WatchPreviews(wanted=wanted))

    def hold(self, message: HoldModel | DropModels) -> bool:
        """Pass on what to hold in memory, if no unit runs here; says whether it was. A unit given later waits for it."""
        if not self.is_ready or self._worker is None:
            return False
        self._worker.send(message)
        doing = f"loading {message.label}" if isinstance(message, HoldModel) else "unloading"
        self._note_residents(msgspec.structs.replace(self.residents, doing=doing, error=""))
        return True

    def end_if_hung(self, now: float) -> None:
        """Dump the stacks of a worker that hangs, and end it; it is then lost like any other."""
        if self._worker is None or not self._listening or (self._ending is not None and not self._ending.done()):
            return
        why = self._watch.silent(now) or (self._watch.stuck(now) if self.unit is not None else None)
        if why is not None:
            logger.error("Worker %s %s; its stacks follow, then it is ended.", self.name, why)
            self._ending = asyncio.create_task(self._worker.end(dump=True))

    def forgive(self, now: float) -> None:
        """It was the front that did not listen."""
        self._watch.forgive(now)

    async def stop(self, seconds: float) -> None:
        """Let the worker leave; after `seconds` it is ended."""
        if self._worker is not None:
            await self._worker.stop(seconds)

    async def _listen(self, worker: Worker) -> None:
        while True:
            self._listening = True
            message = await worker.receive()
            self._listening = False
            begun = time.monotonic()
            await self._take(worker, message)
            now = time.monotonic()
            if now - begun > SLOW_SECONDS:
                self.forgive(now)

    async def _take(self, worker: Worker, message: FromWorker) -> None:
        now = time.monotonic()
        self._watch.hear(now)
        match message:
            case WorkerReady():
                if self.previews_wanted:
                    worker.send(WatchPreviews(wanted=True))
                await self._set_state("ready", f"process {message.pid}")
                self._hooks.wake()
            case Alive():
                self._watch.step(message.num_steps, message.phase, now)
            case WorkerTold():
                self._note_residents(message.event)
            case UnitTold() | UnitEnded():
                await self._take_from_unit(message, now)

    def _note_residents(self, residents: Residents) -> None:
        self.residents = msgspec.structs.replace(residents, worker=self.name)
        self._hooks.pass_on(self.residents)

    async def _take_from_unit(self, message: UnitTold | UnitEnded, now: float) -> None:
        unit = self.unit
        if unit is None or (message.job_id, message.fence) != (unit.job.id, unit.job.fence):
            logger.warning("Worker %s spoke of a job it does not run: %s", self.name, message.job_id)
        elif isinstance(message, UnitEnded):
            await self._end(unit, message)
        elif isinstance(message.event, EphemeralEvent):
            self._hooks.pass_on(message.event)
        else:
            self._watch.progress(now)
            self._delay = 0.0
            await self._store(unit, message.event)

    async def _store(self, unit: Unit, event: DurableEvent) -> None:
        """Put an event in line to be stored; waits only when many are, and then the worker waits too."""
        unit.unstored.append(self._queue.log.enqueue(event, fence=Fence(unit.job.id, unit.job.fence)))
        if len(unit.unstored) >= MAX_UNSTORED:
            await self._settle_one(unit)

    async def _settle(self, unit: Unit) -> None:
        while unit.unstored:
            await self._settle_one(unit)

    async def _settle_one(self, unit: Unit) -> None:
        try:
            await unit.unstored.popleft()
        except NegError as error:
            if error.detail.code != "disk_full":
                raise
            unit.no_room = unit.unstored_why = error.detail.message
            self._hooks.wake()

    async def _end(self, unit: Unit, ended: UnitEnded) -> None:
        await self._settle(unit)
        reason = "goes on at the next start of the daemon" if self.closing else ""
        no_room = unit.unstored_why or (unit.no_room if ended.outcome == "paused" else "")
        row = await self._persist(
            lambda: self._queue.end(ended.job_id, ended.fence, ended.outcome, ended.error, ended.timings, reason, no_room)
        )
        self._delay = 0.0
        self._free()
        await self._set_state("ready")
        if row is not None:
            self._hooks.ended(row)
        self._hooks.wake()

    async def _bury(self, evidence: str) -> None:
        self._worker = None
        self._note_residents(Residents(worker=self.name))
        if not self.closing:
            logger.error("Worker %s %s", self.name, evidence)
        await self._set_state("stopped" if self.closing else "lost", "" if self.closing else evidence)
        if self.unit is not None:
            await self._lose(self.unit, evidence, counts=not self.closing)
        self._free()
        self._hooks.wake()

    async def _lose(self, unit: Unit, evidence: str, *, counts: bool) -> None:
        await self._settle(unit)
        job = unit.job
        deaths = self._policy.max_deaths if counts else None
        await self._persist(lambda: self._queue.lose(job.id, job.fence, evidence, deaths))

    def _free(self) -> None:
        self.unit = None
        self.idle.set()

    async def _set_state(self, state: WorkerState, message: str = "") -> None:
        self.state = state
        try:
            await self._queue.log.append(WorkerChanged(worker=self.name, state=state, message=message))
        except NegError as error:
            if error.detail.code != "disk_full":
                raise
            logger.warning("Worker %s is %s, which could not be stored: %s", self.name, state, error)

    async def _persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write a change of state that must not be lost: while the disk is full, again and again."""
        trouble = Seldom()
        while True:
            try:
                return await write()
            except NegError as error:
                if error.detail.code != "disk_full":
                    raise
                if trouble.is_due():
                    logger.error("The state of a job cannot be stored yet, and is tried again until it can: %s", error)
                await asyncio.sleep(self._policy.poll_seconds)
