"""A preset's arms through a real daemon and worker, painted together, stopped in the middle and gone on with: nothing is painted twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from daemon import sessions
from daemon.protocol.commands import Pause, Resume
from daemon.protocol.events import ImageSaved
from daemon.protocol.specs import job_specs
from daemon.toy import BASE_PATH
from negtui.client import Client
from negtui.picture_text import read_request
from tests.faults.workshop import Workshop, persist, submit, until_all, whole_log

CHANGES = {
    "comparison.num_inference_steps": "5",
    "comparison.num_prompts": "2",
    "comparison.diagnose_blocks": "0",
    "comparison.scorers": "[]",
}
NUM_PICTURES = 32


def write_adapter(path: Path) -> None:
    """A LoRA of small random weights on the toy's attention."""
    rng, weights = np.random.default_rng(0), {}
    for key, weight in sorted(load_file(BASE_PATH / "unet" / "diffusion_pytorch_model.safetensors").items()):
        layer = key.removesuffix(".weight")
        if layer.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            for side, shape in (("A", (2, weight.shape[1])), ("B", (weight.shape[0], 2))):
                weights[f"unet.{layer}.lora_{side}.weight"] = (0.2 * rng.standard_normal(shape)).astype(np.float32)
    path.parent.mkdir(parents=True)
    save_file(weights, path)


def states(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.png")}


async def pictures_told(client: Client) -> list[ImageSaved]:
    return [event for _, event in await whole_log(client) if isinstance(event, ImageSaved)]


def test_branches_stopped_in_the_middle_of_a_block_paint_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGTUI_PICTURES_TOGETHER", "4")
    workshop = Workshop(tmp_path, monkeypatch)
    sessions.create(workshop.places.sessions_path, "mine", "toy", CHANGES)
    session_path = workshop.session_path("mine")
    write_adapter(session_path / "adapters/wrong/pytorch_lora_weights.safetensors")
    spec = job_specs("mine", sessions.read(workshop.places.sessions_path, "mine"), preset="branches")["compare"]
    images_path = session_path / "comparisons/images"

    async def scene() -> list[ImageSaved]:
        async with workshop.open() as client:
            job = await submit(client, spec)
            while not await pictures_told(client):
                await asyncio.sleep(0.02)
            await persist(lambda: client.request(Pause(job_id=job), 5.0))
            await until_all(client, [job], "paused", "done")
            before = states(images_path)
            assert 0 < len(before) < NUM_PICTURES
            assert len(before) % 4 == 0, "what is painted together is finished together"
            await persist(lambda: client.request(Resume(job_id=job), 5.0))
            await until_all(client, [job], "done")
            after = states(images_path)
            assert {name: after[name] for name in before} == before
            return await pictures_told(client)

    told = asyncio.run(scene())
    assert sorted(event.index for event in told) == list(range(NUM_PICTURES))
    assert len({event.image.id for event in told}) == NUM_PICTURES
    request = next(event.image.request for event in told if event.image.arm == "negative-wrong")
    assert request.adapters[0].weights == (0.0, 1.0)
    assert read_request(images_path / f"{told[-1].image.id}.png") == told[-1].image.request
    assert (session_path / "comparisons/branches/report.html").is_file()
