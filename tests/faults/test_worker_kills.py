"""kill -9 of the real worker in each act on the toy model: the same pictures and the same adapter, bit for bit, as undisturbed."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from daemon import sessions
from daemon.files import sha256_file
from daemon.protocol.events import AdapterSaved, ImageSaved
from daemon.protocol.specs import JobSpec
from negtui.client import Client
from tests.faults.workshop import Workshop, jobs, seeded, submit, until_all, whole_log

SMALL = {
    "synthesis.keywords": '["blurry", "grainy", "pixelated"]',
    "synthesis.guidance_scales": "[5, 6]",
    "synthesis.num_inference_steps": "10",
    "training.max_train_steps": "60",
    "training.checkpointing_steps": "5",
    "training.train_batch_size": "2",
    "comparison.num_inference_steps": "10",
    "comparison.num_prompts": "3",
}
LARGE = SMALL | {
    "synthesis.guidance_scales": "[5, 6, 7, 8, 9, 10, 11, 12]",
    "training.max_train_steps": "400",
    "comparison.num_prompts": "10",
}


@pytest.mark.parametrize(
    ("num_kills", "changes"), [(1, SMALL), pytest.param(50, LARGE, marks=pytest.mark.full)], ids=["1 an act", "50 an act"]
)
@pytest.mark.timeout(7200)
def test_every_act_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_kills: int, changes: dict[str, str]
) -> None:
    workshop = Workshop(tmp_path, monkeypatch)
    for name in ("calm", "killed"):
        sessions.create(workshop.places.sessions_path, name, "toy", changes)
    asyncio.run(_run_both(workshop, num_kills))


async def _run_both(workshop: Workshop, num_kills: int) -> None:
    random = seeded("worker kills")
    async with workshop.open() as client:
        killed: list[str] = []
        for act in ("synthesize", "train", "compare"):
            calm = await submit(client, _spec(workshop, "calm", act))
            await until_all(client, [calm], "done", seconds=1200)
            killed.append(await submit(client, _spec(workshop, "killed", act)))
            kills = 0
            while kills < num_kills and (await jobs(client))[killed[-1]].state != "done":
                await asyncio.sleep(random.uniform(0.0, 9.0))
                await _resume_if_given_up(client, killed[-1])
                kills += workshop.kill_worker()
            await until_all(client, [killed[-1]], "done", seconds=1200, resume_lost=True)
            print(f"{act}: {kills} kills")
            assert kills >= 1
        events = [event for _, event in await whole_log(client)]
    images = Counter((event.job_id, event.image.arm, event.index) for event in events if isinstance(event, ImageSaved))
    assert set(images.values()) == {1}
    assert sum(isinstance(event, AdapterSaved) for event in events) == 2
    calm_files, killed_files = (_results(workshop.session_path(name)) for name in ("calm", "killed"))
    assert any(name.endswith(".safetensors") for name in calm_files)
    assert killed_files == calm_files


async def _resume_if_given_up(client: Client, job_id: str) -> None:
    await until_all(client, [job_id], "running", "queued", "done", "failed", resume_lost=True)


def _spec(workshop: Workshop, session: str, act: str) -> JobSpec:
    spec = sessions.read(workshop.places.sessions_path, session)
    specs = sessions.job_specs(session, spec)
    return next(job for job in specs.values() if msgspec.structs.asdict(job) and job.__struct_config__.tag == act)


def _results(session_path: Path) -> dict[str, str]:
    """Hash by name of every picture and adapter of a session."""
    files = [
        *session_path.glob("dataset/*.png"),
        *session_path.glob("comparisons/images/*.png"),
        *session_path.glob("adapters/*/*.safetensors"),
    ]
    return {str(path.relative_to(session_path)): sha256_file(path) for path in sorted(files)}
