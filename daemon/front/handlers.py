"""What the daemon does for each command: a table command -> handler. Connections, jobs, workers are here, the rest beside this file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from daemon import sessions
from daemon.front.flow import Flow
from daemon.front.peers import Limits, Peer
from daemon.front.picture_commands import PictureCommands
from daemon.front.router import Handler, Reply
from daemon.front.session_commands import SessionCommands
from daemon.front.vote_commands import VoteCommands
from daemon.jobs.queue import JobQueue
from daemon.protocol import codec
from daemon.protocol.commands import (
    Attach,
    Attached,
    Cancel,
    Command,
    Credit,
    Drain,
    Draining,
    Hello,
    JobAnswer,
    Jobs,
    ListJobs,
    LoadModel,
    Ordered,
    Pause,
    Ping,
    Pong,
    Prioritise,
    ReadEvents,
    Resume,
    Snapshot,
    Steer,
    StoredEvents,
    Submit,
    Submitted,
    UnloadModel,
    Welcome,
)
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobRow, Residents
from daemon.protocol.link import DropModels, HoldModel
from daemon.protocol.orders import Order
from daemon.store.events import EventLog

MAX_SNAPSHOT_JOBS = 1000


@dataclass(frozen=True)
class Front:
    """All that commands act on.

    `workers()` tells their states, `residents()` what they hold, `hold()` has the idle ones hold something else and names them; `order()`
    passes one to a running training, `drain()` begins the end, `lag()` is the loop's in seconds.
    """

    boot_id: str
    store_id: str
    pid: int
    sessions_path: Path
    limits: Limits
    queue: JobQueue
    log: EventLog
    flow: Flow
    workers: Callable[[], dict[str, str]]
    order: Callable[[str, Order], Awaitable[JobRow]]
    residents: Callable[[], Sequence[Residents]]
    hold: Callable[[HoldModel | DropModels], tuple[str, ...]]
    watch_previews: Callable[[bool], None]
    drain: Callable[[], None]
    lag: Callable[[], float]

    def table(self) -> dict[type[Command], Handler]:
        """The commands of the `ctl` socket."""
        marking = asyncio.Lock()
        return {
            **SessionCommands(self.queue, marking).table(),
            **PictureCommands(self.queue, marking).table(),
            **VoteCommands(self.queue, marking).table(),
            Hello: self.hello,
            Attach: self.attach,
            Credit: self.credit,
            Ping: self.ping,
            Submit: self.submit,
            Cancel: self.cancel,
            Pause: self.pause,
            Resume: self.resume,
            Prioritise: self.prioritise,
            Steer: self.steer,
            ListJobs: self.list_jobs,
            ReadEvents: self.read_events,
            LoadModel: self.load_model,
            UnloadModel: self.unload_model,
            Drain: self.begin_drain,
        }

    async def hello(self, command: Hello, peer: Peer) -> Welcome:
        if not command.min_protocol <= codec.MAJOR <= command.max_protocol:
            raise NegError(
                "bad_version",
                f"Protocol {command.min_protocol} to {command.max_protocol} was asked, {codec.MAJOR} is spoken.",
                "Use the same negtui version on both sides.",
            )
        return Welcome(
            protocol=codec.MAJOR,
            version=version("negtui"),
            store_id=self.store_id,
            boot_id=self.boot_id,
            head_seq=self.log.head_seq,
            min_seq=self.log.min_seq,
            sessions_path=str(self.sessions_path),
            pid=self.pid,
            limits=self.limits.told(),
        )

    async def attach(self, command: Attach, peer: Peer) -> Reply:
        """Replay where the client's place in the log is one of this log, else a snapshot; the flow begins behind the reply."""
        seq, snapshot = command.since_seq, None
        if command.store_id != self.store_id or not self.log.min_seq <= seq <= self.log.head_seq:
            # The head first, the state after it: what happens between is told twice rather than never.
            seq = self.log.head_seq
            snapshot = Snapshot(
                jobs=newest_fitting(await self.queue.jobs(None, MAX_SNAPSHOT_JOBS)),
                sessions=tuple(await asyncio.to_thread(sessions.rows, self.sessions_path)),
                workers=self.workers(),
            )

        def begin() -> None:
            self.flow.attach(peer, seq, command.credit, command.previews)
            self.watch_previews(self.flow.previews_wanted)
            for held in self.residents():
                self.flow.tell(held)

        return Reply(Attached(seq=seq, snapshot=snapshot), then=begin)

    async def credit(self, command: Credit, peer: Peer) -> None:
        self.flow.add_credit(peer, command.n)

    async def ping(self, command: Ping, peer: Peer) -> Pong:
        return Pong(
            boot_id=self.boot_id,
            head_seq=self.log.head_seq,
            loop_lag_seconds=self.lag(),
            workers=self.workers(),
            attached=peer.is_attached,
        )

    async def submit(self, command: Submit, peer: Peer) -> Submitted:
        return await self.queue.submit(command)

    async def cancel(self, command: Cancel, peer: Peer) -> JobAnswer:
        return JobAnswer(job=await self.queue.cancel(command.job_id))

    async def pause(self, command: Pause, peer: Peer) -> JobAnswer:
        return JobAnswer(job=await self.queue.pause(command.job_id))

    async def resume(self, command: Resume, peer: Peer) -> JobAnswer:
        return JobAnswer(job=await self.queue.resume(command.job_id))

    async def prioritise(self, command: Prioritise, peer: Peer) -> JobAnswer:
        return JobAnswer(job=await self.queue.prioritise(command.job_id, command.priority))

    async def steer(self, command: Steer, peer: Peer) -> JobAnswer:
        return JobAnswer(job=await self.order(command.job_id, command.order))

    async def list_jobs(self, command: ListJobs, peer: Peer) -> Jobs:
        return Jobs(jobs=newest_fitting(await self.queue.jobs(command.session, command.limit)))

    async def read_events(self, command: ReadEvents, peer: Peer) -> StoredEvents:
        """As many as were asked for and fit into one reply; at least one, if there is one."""
        found = await self.log.read(command.since_seq, command.limit, command.job_id)
        size, fitting = 0, 0
        for event in found:
            size += len(event.body)
            if fitting and size > codec.MAX_REPLY_BYTES:
                break
            fitting += 1
        found = found[:fitting]
        return StoredEvents(
            seqs=tuple(event.seq for event in found),
            times=tuple(event.time for event in found),
            events=tuple(event.body for event in found),
            head_seq=self.log.head_seq,
        )

    async def load_model(self, command: LoadModel, peer: Peer) -> Ordered:
        spec = await asyncio.to_thread(sessions.read, self.sessions_path, command.session)
        return self._on_its_way(HoldModel(model=spec.model, label=f"the model of {command.session}"))

    async def unload_model(self, command: UnloadModel, peer: Peer) -> Ordered:
        return self._on_its_way(DropModels())

    def _on_its_way(self, message: HoldModel | DropModels) -> Ordered:
        workers = self.hold(message)
        if not workers:
            states = ", ".join(f"{name} is {state}" for name, state in self.workers().items())
            raise NegError("conflict", f"No worker is idle: {states}.", "Wait for its job, or pause it.", retryable=True)
        return Ordered(workers=workers)

    async def begin_drain(self, command: Drain, peer: Peer) -> Reply:
        return Reply(Draining(), then=self.drain)


def newest_fitting(jobs: Sequence[JobRow], max_bytes: int = codec.MAX_REPLY_BYTES) -> tuple[JobRow, ...]:
    """The newest of `jobs` (oldest first) that fit into one reply; at least one, if there is one."""
    size = 0
    for count, job in enumerate(reversed(jobs)):
        size += len(codec.encode(job))
        if count and size > max_bytes:
            return tuple(jobs[len(jobs) - count :])
    return tuple(jobs)
