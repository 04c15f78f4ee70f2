"""A training by several processes, from the command line's socket to the adapter: real worker, real companions, the toy, on the CPU."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from daemon import sessions
from daemon.files import sha256_file
from daemon.protocol.commands import Cancel, Pause, Resume
from daemon.protocol.events import AdapterSaved, Logged
from daemon.protocol.orders import LearningRate, StopAndKeep
from daemon.protocol.specs import JobSpec, job_specs
from daemon.training.orders import FILE_NAME, Journal
from negtui.inbox import Item
from tests.faults.workshop import Workshop, add_noise, submit, until_all
from tests.trips import test_steering
from tests.trips.test_steering import give, has_become, takes_steps

pytestmark = pytest.mark.timeout(1200)
NUM_STEPS = 30
SECONDS = 400.0
WEIGHTS = "adapters/wrong/pytorch_lora_weights.safetensors"


async def until(events: AsyncIterator[Item], wanted: Callable[[Any], bool]) -> Any:
    """As `test_steering.until`, for as long as two processes that load a model one after the other may take."""
    return await test_steering.until(events, wanted, SECONDS)


def make_session(workshop: Workshop, name: str, num_processes: int, max_train_steps: int = NUM_STEPS) -> Path:
    """A session of the toy with four pictures of noise."""
    changes = {
        "training.max_train_steps": str(max_train_steps),
        "training.checkpointing_steps": "4",
        "training.train_batch_size": "1",
        "training.gradient_accumulation_steps": "2",
        "training.num_processes": str(num_processes),
        "training.validation_steps": "30",
        "training.lora_dropout": "0.1",
    }
    sessions.create(workshop.places.sessions_path, name, "toy", changes)
    folder = workshop.session_path(name)
    add_noise(folder / "dataset", 4)
    return folder


def training(workshop: Workshop, name: str) -> JobSpec:
    return job_specs(name, sessions.read(workshop.places.sessions_path, name))["train"]


def companion_pids(workshop: Workshop) -> list[int]:
    """The companions of this workshop's worker, or of one that is gone: their folder is named in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"daemon.training.accompany" in line and str(workshop.folder).encode() in line:
                found.append(int(entry.name))
    return found


async def until_alone(workshop: Workshop) -> None:
    async with asyncio.timeout(20):
        while companion_pids(workshop):
            await asyncio.sleep(0.05)


def curve(folder: Path) -> dict[int, float]:
    (path,) = folder.glob("metrics/*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def learned(folder: Path) -> Any:
    """The matrices that were zero before the training, as one vector."""
    weights = load_file(folder / WEIGHTS)
    return np.concatenate([weights[name].ravel() for name in sorted(weights) if "lora_B" in name or "lora.up" in name])


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "adapters" / "wrong" / "training.json").read_text())
    return found


def test_a_companion_killed_it_ends_bit_for_bit_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop = Workshop(tmp_path, monkeypatch)
    disturbed, calm = (make_session(workshop, name, 2) for name in ("disturbed", "calm"))

    async def trip() -> None:
        async with workshop.open() as client:
            events = client.events()
            job = await submit(client, training(workshop, "disturbed"))
            await kill_companion(workshop, events, job)
            jobs = [job, await submit(client, training(workshop, "calm"))]
            ended = await until_all(client, jobs, "done", "failed", seconds=SECONDS)
            assert [row.error for row in ended.values()] == [None] * 2
            assert companion_pids(workshop) == []

    asyncio.run(trip())
    assert sha256_file(disturbed / WEIGHTS) == sha256_file(calm / WEIGHTS)
    assert curve(disturbed) == curve(calm)
    assert list(curve(calm)) == list(range(1, NUM_STEPS + 1))
    assert record(disturbed)["bit_exact"] is True
    assert not list(tmp_path.rglob(".tmp-*"))


async def kill_companion(workshop: Workshop, events: AsyncIterator[Item], job: str) -> None:
    """While steps are taken; the job then waits for another worker."""
    await until(events, takes_steps(job, after=4))
    (companion,) = companion_pids(workshop)
    os.kill(companion, signal.SIGKILL)
    moved = await until(events, has_become(job, "queued"))
    assert "lost a process that trained with it" in moved.job.reason


@pytest.mark.full
def test_a_companion_killed_and_the_run_paused_it_ends_as_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop = Workshop(tmp_path, monkeypatch)
    disturbed, calm, one = (make_session(workshop, name, num) for name, num in (("disturbed", 2), ("calm", 2), ("one", 1)))

    async def trip() -> None:
        async with workshop.open() as client:
            events = client.events()
            job = await submit(client, training(workshop, "disturbed"))
            await kill_companion(workshop, events, job)
            await until(events, takes_steps(job, after=6))
            await client.request(Pause(job_id=job))
            await until(events, has_become(job, "paused"))
            await until_alone(workshop)
            worker = workshop.worker_pid()
            await client.request(Resume(job_id=job))
            others = [await submit(client, training(workshop, name)) for name in ("calm", "one")]
            ended = await until_all(client, [job, *others], "done", "failed", seconds=SECONDS)
            assert [row.error for row in ended.values()] == [None] * 3
            assert workshop.worker_pid() == worker, "it trains on, also by itself, when the others are gone"
            assert companion_pids(workshop) == []

    asyncio.run(trip())
    assert sha256_file(disturbed / WEIGHTS) == sha256_file(calm / WEIGHTS)
    assert curve(disturbed) == curve(calm)
    assert list(curve(calm)) == list(range(1, NUM_STEPS + 1))
    assert list(curve(calm).values()) == pytest.approx(list(curve(one).values()), rel=1e-3)
    weights, wanted = learned(calm), learned(one)
    # AdamW moves even a weight whose gradient is all rounding: together they agree, not each.
    assert np.linalg.norm(weights - wanted) < 0.01 * np.linalg.norm(wanted)
    assert record(calm)["fingerprint"] == record(one)["fingerprint"]
    assert [record(folder)["environment"].get("num_processes") for folder in (disturbed, one)] == ["2", None]


@pytest.mark.full
def test_killed_in_either_process_and_steered_it_ends_bit_for_bit_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop = Workshop(tmp_path, monkeypatch)
    killed, calm = make_session(workshop, "killed", 2, 2000), make_session(workshop, "calm", 2, 2000)

    async def trip() -> None:
        async with workshop.open() as client:
            events = client.events()
            job = await submit(client, training(workshop, "killed"))
            await until(events, takes_steps(job, after=6))
            await give(client, job, LearningRate(value=1e-3))
            await until(events, lambda event: isinstance(event, Logged) and "learning_rate is 0.001" in event.message)
            (companion,) = companion_pids(workshop)
            os.kill(companion, signal.SIGKILL)
            await until(events, has_become(job, "running"))
            await until(events, takes_steps(job, after=12))
            assert workshop.kill_worker()
            await until(events, has_become(job, "running"))
            await until(events, takes_steps(job, after=20))
            await give(client, job, StopAndKeep())
            await until(events, lambda event: isinstance(event, AdapterSaved))
            await until_all(client, [job], "done", seconds=SECONDS)
            (journal,) = killed.glob(f"checkpoints/*/{FILE_NAME}")
            assert [type(entry.order) for entry in Journal(journal).entries] == [LearningRate, StopAndKeep]
            target = calm / journal.relative_to(killed)
            target.parent.mkdir(parents=True)
            target.write_bytes(journal.read_bytes())
            await until_all(client, [await submit(client, training(workshop, "calm"))], "done", seconds=SECONDS)
            await until_alone(workshop)

    asyncio.run(trip())
    assert sha256_file(killed / WEIGHTS) == sha256_file(calm / WEIGHTS)
    assert curve(killed) == curve(calm)


@pytest.mark.full
def test_cancelled_no_process_is_left_and_more_may_go_on_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop = Workshop(tmp_path, monkeypatch)
    folder = make_session(workshop, "wide", 1, 2000)

    async def trip() -> None:
        async with workshop.open() as client:
            events = client.events()
            job = await submit(client, training(workshop, "wide"))
            await until(events, takes_steps(job, after=6))
            await client.request(Cancel(job_id=job))
            await until(events, has_become(job, "cancelled"))
            sessions.change(workshop.places.sessions_path, "wide", {"training.num_processes": "2"})
            job = await submit(client, training(workshop, "wide"))
            told = await until(events, lambda event: isinstance(event, Logged) and "elsewhere" in event.message)
            assert "num_processes 1 -> 2" in told.message
            await until(events, takes_steps(job, after=8))
            assert len(companion_pids(workshop)) == 1
            await client.request(Cancel(job_id=job))
            await until(events, has_become(job, "cancelled"))
            await until_alone(workshop)

    asyncio.run(trip())
    states = sorted(folder.glob("checkpoints/*/step-*/state.json"))
    assert json.loads(states[-1].read_text())["bit_exact"] is False
