"""A daemon of its own in a temporary workspace, to be killed: start, kill -9, find the worker, follow jobs through it all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image

from daemon.config import Places, places
from daemon.protocol import codec
from daemon.protocol.commands import ListJobs, ReadEvents, Resume, Submit
from daemon.protocol.errors import NegError
from daemon.protocol.events import DurableEvent, JobRow
from daemon.protocol.specs import JobSpec
from negtui.client import Client
from negtui.launch import ensure_daemon
from negtui.line import is_listening

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


def seeded(name: str) -> random.Random:
    """A generator whose seed is printed with a failure; `NEGTUI_TEST_SEED` repeats it."""
    seed = int(os.environ.get("NEGTUI_TEST_SEED", secrets.randbits(32)))
    print(f"{name}: NEGTUI_TEST_SEED={seed}")
    return random.Random(seed)


class Workshop:
    """One workspace, its daemon, and a client that lives through the daemon's deaths."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, recipes: str | None = None) -> None:
        self.folder = folder
        monkeypatch.setenv("NEGTUI_RUNTIME", f"/tmp/neg-{secrets.token_hex(6)}")  # tmp_path is too long for a socket
        monkeypatch.setenv("NEGTUI_BALLAST_MIB", "1")
        monkeypatch.setenv("NEGTUI_MIN_FREE_MIB", "1")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        if recipes:
            monkeypatch.setenv("NEGTUI_RECIPES", recipes)
        (folder / "sessions").mkdir(parents=True, exist_ok=True)
        self.places: Places = places(folder)

    def session_path(self, name: str) -> Path:
        return self.places.sessions_path / name

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Client]:
        """A running daemon and a client; both gone afterwards."""
        try:
            async with Client.connect(workspace=self.folder, seconds=30.0) as client:
                yield client
        finally:
            self.kill_front()

    def front_pid(self) -> int | None:
        """The front's process, found by its workspace in the command line."""
        return next((pid for pid, line in _processes() if "daemon.front.serve" in line and str(self.folder) in line), None)

    def worker_pid(self) -> int | None:
        """The worker's process: a child of the front."""
        front = self.front_pid()
        return next((pid for pid, line in _processes() if "daemon.worker" in line and _parent(pid) == front), None)

    def kill_front(self) -> None:
        """SIGKILL; the worker ends by itself. Returns once its threads are gone too, and with them its sockets."""
        _kill(self.front_pid())
        while is_listening(self.places.ctl_endpoint):
            time.sleep(0.005)

    def kill_worker(self) -> bool:
        """SIGKILL, if there is one; whether there was."""
        return _kill(self.worker_pid())

    async def restart(self) -> None:
        """Start a daemon where the last one was killed."""
        await ensure_daemon(self.places)


def add_noise(folder: Path, num_pictures: int) -> None:
    """Pictures of noise, 64 x 64, the same every time."""
    folder.mkdir(exist_ok=True)
    for number in range(num_pictures):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


async def submit(client: Client, spec: JobSpec, after: tuple[str, ...] = ()) -> str:
    """Submit until it is accepted, through restarts; returns the job's id."""
    command = Submit(key=secrets.token_hex(16), spec=spec, after=after)
    return await persist(lambda: _job_id(client, command))


async def persist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again after "unknown", as a client does that was cut off."""
    while True:
        try:
            return await ask()
        except NegError as error:
            if error.detail.code not in ("worker_lost", "busy", "rate_limited", "internal"):
                raise
            await asyncio.sleep(0.05)


async def jobs(client: Client) -> dict[str, JobRow]:
    """All jobs by id."""
    answer = await persist(lambda: client.request(ListJobs(limit=10_000), 5.0))
    return {job.id: job for job in answer.jobs}  # type: ignore[union-attr]


async def until_all(client: Client, ids: list[str], *states: str, seconds: float = 240.0, resume_lost: bool = False) -> dict[str, JobRow]:
    """Wait until every job is in one of `states`; `resume_lost` resumes one that was given up because its worker died too often."""
    async with asyncio.timeout(seconds):
        while True:
            found = await jobs(client)
            lost = [
                id for id in ids if found[id].error is not None and found[id].error.code == "worker_lost" and found[id].state == "failed"
            ]
            for id in lost if resume_lost else ():
                await persist(lambda id=id: client.request(Resume(job_id=id), 5.0))
            if all(found[id].state in states for id in ids) and not (lost and resume_lost):
                return found
            await asyncio.sleep(0.05)


async def whole_log(client: Client) -> list[tuple[int, DurableEvent]]:
    """Every stored event, in order."""
    events: list[tuple[int, DurableEvent]] = []
    while True:
        since = events[-1][0] if events else 0
        stored = await persist(lambda since=since: client.request(ReadEvents(since_seq=since, limit=1000), 5.0))
        events += [(seq, codec.decode_event(body)) for seq, body in zip(stored.seqs, stored.events, strict=True)]
        if not stored.seqs:
            return events


async def _job_id(client: Client, command: Submit) -> str:
    return (await client.request(command, 5.0)).job.id  # type: ignore[union-attr]


def _processes() -> list[tuple[int, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found.append((int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")))
    return [(pid, line) for pid, line in found if line]


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return 0


def _kill(pid: int | None) -> bool:
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return True
