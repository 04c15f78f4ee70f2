"""An executor whose workers are played by the test: it reads what they are sent and says what they say."""

from __future__ import annotations

import asyncio
import itertools

from daemon.jobs.executor import WorkerLost
from daemon.protocol.events import AnyEvent
from daemon.protocol.link import Alive, FromWorker, InterruptUnit, RunUnit, StopWorker, ToWorker, UnitEnded, UnitTold, WorkerReady
from daemon.recipe import How


class FakeWorker:
    """One worker; `sent` is what the front sent it."""

    _pids = itertools.count(1000)

    def __init__(self) -> None:
        self.pid = next(self._pids)
        self.sent: list[ToWorker] = []
        self.ended_with_dump = False
        self._messages: asyncio.Queue[FromWorker | WorkerLost] = asyncio.Queue()

    def send(self, message: ToWorker) -> None:
        self.sent.append(message)
        if isinstance(message, StopWorker):
            self.die("left (exit code 0)")

    async def receive(self) -> FromWorker:
        message = await self._messages.get()
        if isinstance(message, WorkerLost):
            raise message
        return message

    async def end(self, *, dump: bool = False) -> None:
        self.ended_with_dump = dump
        self.die("was ended by SIGTERM")

    async def stop(self, seconds: float) -> None:
        self.send(StopWorker())

    def say(self, message: FromWorker) -> None:
        """The worker says this."""
        self._messages.put_nowait(message)

    def die(self, how: str = "was ended by SIGKILL") -> None:
        """The worker is gone."""
        self._messages.put_nowait(WorkerLost(how))

    @property
    def units(self) -> list[RunUnit]:
        """The units it was given."""
        return [message for message in self.sent if isinstance(message, RunUnit)]

    @property
    def interrupts(self) -> list[How]:
        """How it was asked to stop."""
        return [message.how for message in self.sent if isinstance(message, InterruptUnit)]

    def tell(self, event: AnyEvent) -> None:
        """Tell an event of the latest unit."""
        unit = self.units[-1]
        self.say(UnitTold(job_id=unit.job_id, fence=unit.fence, event=event))

    def finish(self, outcome: str = "done", **fields: object) -> None:
        """End the latest unit."""
        unit = self.units[-1]
        self.say(UnitEnded(job_id=unit.job_id, fence=unit.fence, outcome=outcome, **fields))  # type: ignore[arg-type]

    def live(self, num_steps: int, phase: str = "train") -> None:
        """A sign of life."""
        self.say(Alive(num_steps=num_steps, phase=phase))


class FakeExecutor:
    """Starts fake workers, ready at once unless `ready` is false."""

    def __init__(self, *names: str, ready: bool = True) -> None:
        self.names = names or ("worker",)
        self.workers: list[FakeWorker] = []
        self.failures = 0
        self._ready = ready

    async def start(self, name: str) -> FakeWorker:
        if self.failures:
            self.failures -= 1
            raise OSError("no processes left")
        worker = FakeWorker()
        self.workers.append(worker)
        if self._ready:
            worker.say(WorkerReady(pid=worker.pid))
        return worker

    @property
    def worker(self) -> FakeWorker:
        """The newest worker."""
        return self.workers[-1]
