"""kill -9 of the real worker, and of the front, in each act on the toy model: the same pictures and adapter, bit for bit."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from daemon import sessions
from daemon.files import sha256_file
from daemon.protocol.events import AdapterSaved, ImageSaved
from daemon.protocol.specs import JobSpec, job_specs
from negtui.client import Client
from tests.faults.workshop import Workshop, jobs, seeded, submit, until_all, whole_log

CHANGES = {
    "synthesis.keywords": '["blurry", "grainy", "pixelated"]',
    "synthesis.guidance_scales": "[5, 6]",
    "synthesis.num_inference_steps": "10",
    "training.max_train_steps": "60",
    "training.checkpointing_steps": "5",
    "training.train_batch_size": "2",
    "comparison.num_inference_steps": "10",
    "comparison.num_prompts": "3",
}
SHORT = CHANGES | {
    "synthesis.guidance_scales": "[5]",
    "synthesis.num_inference_steps": "4",
    "training.max_train_steps": "20",
    "comparison.num_inference_steps": "4",
}
"""For one kill: most of its time is the loading of models."""
ACTS = ("synthesize", "train", "compare")
NEEDED = {"synthesize": (), "train": ("dataset",), "compare": ("dataset", "adapters")}
"""What an act builds on, taken over from the undisturbed session."""
RESTART_SECONDS = 2.0
WARM_SECONDS = 1.0
"""A worker whose models are loaded is soon done; a new one loads first, and is killed at any moment of what the undisturbed run took."""


@pytest.mark.parametrize(("num_kills", "changes"), [(1, SHORT), pytest.param(50, CHANGES, marks=pytest.mark.full)], ids=["1", "50"])
@pytest.mark.timeout(7200)
def test_every_act_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_kills: int, changes: dict[str, str]
) -> None:
    monkeypatch.setenv("NEGTUI_LONGEST_RESTART_SECONDS", str(RESTART_SECONDS))
    workshop = Workshop(tmp_path, monkeypatch)
    sessions.create(workshop.places.sessions_path, "calm", "toy", changes)
    asyncio.run(_kill_in_each_act(workshop, num_kills))


async def _kill_in_each_act(workshop: Workshop, num_kills: int) -> None:
    chance = seeded("kills in each act")
    calm = workshop.session_path("calm")
    async with workshop.open() as client:
        for act in ACTS:
            workshop.kill_worker()
            begun = time.monotonic()
            await until_all(client, [await submit(client, _spec(workshop, "calm", act))], "done", seconds=1200)
            cold_seconds = RESTART_SECONDS + time.monotonic() - begun
            for victim, number in (("worker", num_kills), ("front", max(1, num_kills // 10))):
                await _kill(workshop, client, chance, act, victim, number, cold_seconds)
        events = [event for _, event in await whole_log(client)]
    told = Counter((event.job_id, event.image.arm, event.index) for event in events if isinstance(event, ImageSaved))
    adapters = Counter(event.job_id for event in events if isinstance(event, AdapterSaved))
    assert set(told.values()) == set(adapters.values()) == {1}
    assert len(_results(calm, "compare")) > 6


async def _kill(
    workshop: Workshop, client: Client, chance: random.Random, act: str, victim: str, num_kills: int, cold_seconds: float
) -> None:
    """Run `act` in fresh sessions, killing `victim` until that was done so often; each must end as the calm one did."""
    kills = number = 0
    while kills < num_kills:
        folder = workshop.session_path(f"{act}-{victim}-{number}")
        sessions.duplicate(workshop.places.sessions_path, "calm", folder.name, settings_only=True)
        for needed in NEEDED[act]:
            shutil.copytree(workshop.session_path("calm") / needed, folder / needed)
        job = await submit(client, _spec(workshop, folder.name, act))
        seconds = WARM_SECONDS
        while kills < num_kills and (await jobs(client))[job].state != "done":
            await asyncio.sleep(chance.uniform(0.0, seconds))
            seconds = cold_seconds
            kills += workshop.kill_worker() if victim == "worker" else await _kill_front(workshop)
            await until_all(client, [job], "queued", "running", "done", resume_lost=True)
        await until_all(client, [job], "done", seconds=600, resume_lost=True)
        assert _results(folder, act) == _results(workshop.session_path("calm"), act)
        number += 1
    print(f"{act}: {kills} kills of the {victim} over {number} runs, each within {cold_seconds:.0f} s")


async def _kill_front(workshop: Workshop) -> int:
    workshop.kill_front()
    await workshop.restart()
    return 1


def _spec(workshop: Workshop, session: str, act: str) -> JobSpec:
    return job_specs(session, sessions.read(workshop.places.sessions_path, session))[act]


def _results(folder: Path, act: str) -> dict[str, str]:
    """Hash by name of every picture or adapter that the act made."""
    pattern = {"synthesize": "dataset/*.png", "train": "adapters/*/*.safetensors", "compare": "comparisons/images/*.png"}[act]
    found = {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.glob(pattern))}
    assert found
    return found
