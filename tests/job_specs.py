"""Specs, stores and tables for tests of store and jobs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from daemon.jobs.queue import DiskLimits, JobQueue
from daemon.protocol.commands import Submit
from daemon.protocol.events import JobRow
from daemon.protocol.specs import JobSpec, ModelSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.store.db import Store
from daemon.store.events import EventLog
from daemon.store.migrations import migrate
from tests import fake_recipes

NO_LIMITS = DiskLimits(0, 0)
TRAINING = TrainJob(session="fake", model=ModelSpec(base="toy"), training=TrainingSpec())


def table() -> sqlite3.Connection:
    """An empty database in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def submission(
    key: str = "key", *, session: str = "fake", after: tuple[str, ...] = (), priority: int = 0, spec: JobSpec | None = None
) -> Submit:
    """A submission; keys are filled up to their least length."""
    return Submit(key=key.ljust(8, "-"), spec=spec or fake_recipes.job(session), after=after, priority=priority)


@asynccontextmanager
async def open_queue(folder: Path, limits: DiskLimits = NO_LIMITS) -> AsyncIterator[JobQueue]:
    """A queue on a database in `folder`, with the session `fake`."""
    (folder / "sessions" / "fake").mkdir(parents=True, exist_ok=True)
    store = await Store.open(folder / "neg.db", ballast_bytes=0)
    try:
        yield JobQueue(store, EventLog(store), folder / "sessions", limits)
    finally:
        await store.close()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait for a condition; fails the test after so long."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


async def until_state(queue: JobQueue, job_id: str, *states: str) -> JobRow:
    """Wait until a job is in one of the states."""

    async def reached() -> bool:
        return (await queue.job(job_id)).state in states

    await until(reached)
    return await queue.job(job_id)
