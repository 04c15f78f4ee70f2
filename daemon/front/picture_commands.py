"""What the daemon does for commands about pictures: listed, marked, planned, compared. Marks are told in the order they were made."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from daemon.front.peers import Peer
from daemon.front.router import Table
from daemon.jobs.queue import JobQueue
from daemon.protocol import codec
from daemon.protocol.commands import (
    ComparisonAnswer,
    Images,
    ListImages,
    Marked,
    MarkImages,
    Plan,
    PlanSynthesis,
    ReadComparison,
    ReadSweep,
    RestoreMarks,
    SweepAnswer,
)
from daemon.protocol.errors import NegError
from daemon.protocol.events import ImageSaved, ImagesMarked, JobRow
from daemon.protocol.specs import ModelSpec, TrainJob
from daemon.sessions import Comparisons, Curation, preview
from daemon.sessions.estimate import Painted, paces, plan
from daemon.sessions.sweeps import read_sweep

MAX_JOBS_LOOKED_AT = 20
ENOUGH_PICTURES = 64
MAX_EVENTS = 400
MAX_REMEMBERED = 64


class PictureCommands:
    """Handlers over the sessions' pictures and the log. `marking` is held while marks are made and told."""

    def __init__(self, queue: JobQueue, marking: asyncio.Lock) -> None:
        self._queue = queue
        self._marking = marking
        self._curation = Curation(queue.sessions_path)
        self._comparisons = Comparisons(queue.sessions_path)
        self._paces: OrderedDict[tuple[str, int, str], list[Painted]] = OrderedDict()

    def table(self) -> Table:
        return {
            ListImages: self.list_images,
            MarkImages: self.mark,
            RestoreMarks: self.mark,
            PlanSynthesis: self.plan,
            ReadComparison: self.read_comparison,
            ReadSweep: self.read_sweep,
        }

    async def list_images(self, command: ListImages, peer: Peer) -> Images:
        return await asyncio.to_thread(self._curation.list, command)

    async def mark(self, command: MarkImages | RestoreMarks, peer: Peer) -> Marked:
        async with self._marking:
            if isinstance(command, MarkImages):
                marked = await asyncio.to_thread(self._curation.mark, command)
            else:
                marked = await asyncio.to_thread(self._curation.restore, command)
            changed = tuple(now for before, now in zip(marked.before, marked.marks, strict=True) if before != now)
            if changed:
                await self._queue.log.append(ImagesMarked(session=command.session, folder=command.folder, marks=changed))
        return marked

    async def plan(self, command: PlanSynthesis, peer: Peer) -> Plan:
        spec = await asyncio.to_thread(preview, self._queue.sessions_path, command.name, command.changes)
        if spec.synthesis is None:
            raise NegError("invalid", f"{command.name} has no [synthesis] to plan.", "Add that section; `negtui new` shows how it looks.")
        painted = await self._painted(spec.model)
        records = await asyncio.to_thread(self._curation.records, command.name, "dataset")
        return await asyncio.to_thread(plan, spec.synthesis, self._queue.sessions_path / command.name, records, painted)

    async def read_comparison(self, command: ReadComparison, peer: Peer) -> ComparisonAnswer:
        return await asyncio.to_thread(self._comparisons.read, command)

    async def read_sweep(self, command: ReadSweep, peer: Peer) -> SweepAnswer:
        return await asyncio.to_thread(read_sweep, self._queue.sessions_path, command)

    async def _painted(self, model: ModelSpec) -> list[Painted]:
        """What the newest jobs with this very model painted here, oldest first."""
        rows = [row for row in await self._queue.jobs(limit=1000) if row.spec.model == model and not isinstance(row.spec, TrainJob)]
        found: list[Painted] = []
        for row in rows[: -MAX_JOBS_LOOKED_AT - 1 : -1]:
            found = [*await self._painted_by(row), *found]
            if len(found) >= ENOUGH_PICTURES:
                break
        return found

    async def _painted_by(self, row: JobRow) -> list[Painted]:
        key = (row.id, row.fence, row.state)
        if key in self._paces:
            return self._paces[key]
        stored = await self._queue.log.read(0, MAX_EVENTS, row.id)

        def measure() -> list[Painted]:
            events = ((one.time, codec.decode_event(one.body)) for one in stored)
            return paces((at, event) for at, event in events if isinstance(event, ImageSaved))

        found = await asyncio.to_thread(measure)
        if row.state in ("done", "failed", "cancelled"):
            self._paces[key] = found
            while len(self._paces) > MAX_REMEMBERED:
                self._paces.popitem(last=False)
        return found
