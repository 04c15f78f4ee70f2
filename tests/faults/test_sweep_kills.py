"""kill -9 of the worker at random moments of a sweep: it ends with the same table, and no picture is painted or told twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from daemon.files import write_atomic
from daemon.protocol.events import CellStopped, ImageSaved, SweepSaved
from daemon.protocol.specs import ComparisonSpec, ModelSpec, PromptSpec, SweepJob, sweep_job
from daemon.protocol.sweep_spec import SweepSpec
from negtui.client import Client
from tests.faults.workshop import Workshop, jobs, seeded, submit, until_all, whole_log

SWEEP = SweepSpec(weights=(0.5, 0.6, 4.0), guidance_windows=((0.0, 1.0), (0.0, 0.8)), first_look=8)
NUM_PROMPTS = 24
MAX_KILLS = 3
"""A sweep: after more in a row the daemon waits ever longer before it starts the next worker."""


@pytest.mark.parametrize("num_kills", [4, pytest.param(50, marks=pytest.mark.full)])
@pytest.mark.timeout(1800)
def test_it_ends_with_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_kills: int) -> None:
    monkeypatch.setenv("NEGTUI_ENGINE", "tests.fake_sweep:create_engine")
    asyncio.run(_kill_sweeps(Workshop(tmp_path, monkeypatch, "tests.fake_sweep:RECIPES"), num_kills))


async def _kill_sweeps(workshop: Workshop, num_kills: int) -> None:
    chance = seeded("sweep kills")
    async with workshop.open() as client:
        calm = _make(workshop, "calm")
        await until_all(client, [await submit(client, _job("calm"))], "done", seconds=300)
        kills = number = 0
        while kills < num_kills:
            name = f"killed-{number}"
            folder = _make(workshop, name)
            kills += await _kill_until_done(workshop, client, chance, name, min(MAX_KILLS, num_kills - kills))
            assert _contents(folder) == _contents(calm)
            number += 1
        events = [event for _, event in await whole_log(client)]
    assert b"stopped after 8 blocks" in (calm / "sweeps/default/table.md").read_bytes()
    for kind in (ImageSaved, CellStopped, SweepSaved):
        told = Counter((event.job_id, event.key) for event in events if isinstance(event, kind))
        assert set(told.values()) == {1}
    print(f"{kills} kills over {number} sweeps")


async def _kill_until_done(workshop: Workshop, client: Client, chance: random.Random, name: str, most: int) -> int:
    job = await submit(client, _job(name))
    kills = 0
    while kills < most and (await jobs(client))[job].state != "done":
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        kills += workshop.kill_worker()
        await until_all(client, [job], "queued", "running", "done", resume_lost=True)
    await until_all(client, [job], "done", seconds=300, resume_lost=True)
    return kills


def _make(workshop: Workshop, name: str) -> Path:
    folder = workshop.session_path(name)
    write_atomic(folder / "adapters" / "wrong" / "pytorch_lora_weights.safetensors", b"trained weights")
    return folder


def _job(session: str) -> SweepJob:
    prompts = tuple(PromptSpec(prompt=f"star number {number}", seed=number) for number in range(NUM_PROMPTS))
    comparison = ComparisonSpec(prompts=prompts, width=16, height=16, num_inference_steps=4, scorers=("toy-probe",))
    return sweep_job(session, ModelSpec(base="toy"), SWEEP, comparison)


def _contents(folder: Path) -> dict[str, bytes]:
    """Every picture and every file of the sweep; the session's name in them is the only difference there may be."""
    name = folder.name.encode()
    paths = [*folder.glob("sweeps/default/*"), *folder.glob("comparisons/images/*.png")]
    assert len(paths) > 100
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(name, b"NAME")
        for path in paths
        if not path.name.startswith("sheet") and path.name != "summary.json"
    }
