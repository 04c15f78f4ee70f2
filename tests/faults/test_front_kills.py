"""kill -9 of the front under load: no accepted job is lost or done twice, no event is missing, and a client catches up by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from daemon.protocol.commands import Snapshot
from daemon.protocol.events import ImageSaved, JobStateChanged
from negtui.client import Client
from tests import fake_recipes
from tests.faults.workshop import Workshop, seeded, submit, until_all, whole_log


@pytest.mark.parametrize("num_kills", [8, pytest.param(100, marks=pytest.mark.full)])
@pytest.mark.timeout(900)
def test_nothing_accepted_is_lost_or_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_kills: int) -> None:
    asyncio.run(_kill_under_load(Workshop(tmp_path, monkeypatch, "tests.fake_recipes:RECIPES"), num_kills))


async def _kill_under_load(workshop: Workshop, num_kills: int) -> None:
    random = seeded("front kills")
    workshop.session_path("fake").mkdir()
    seen: list[int] = []
    async with workshop.open() as client:
        watching = asyncio.create_task(_watch(client, seen))
        accepted: list[str] = []
        for number in range(num_kills):
            loading = asyncio.create_task(_load(client, accepted, number))
            await asyncio.sleep(random.uniform(0.0, 0.5))
            workshop.kill_front()
            await workshop.restart()
            await loading
        rows = await until_all(client, accepted, "done", "failed", seconds=300, resume_lost=True)
        log = await whole_log(client)
        async with asyncio.timeout(30):
            while not seen or seen[-1] < log[-1][0]:
                await asyncio.sleep(0.05)
        watching.cancel()
    assert len(set(accepted)) == 3 * num_kills == len(rows)
    assert {row.state for row in rows.values()} == {"done"}
    assert [seq for seq, _ in log] == list(range(1, len(log) + 1))
    assert seen == list(range(seen[0], log[-1][0] + 1)), "the client that stayed has every event once"
    events = [event for _, event in log]
    images = Counter((event.job_id, event.image.id) for event in events if isinstance(event, ImageSaved))
    assert set(images.values()) == {1}
    assert Counter(job for job, _ in images) == dict.fromkeys(accepted, 2)
    ended = Counter(event.job.id for event in events if isinstance(event, JobStateChanged) and event.job.state == "done")
    assert ended == dict.fromkeys(accepted, 1)
    computed = Counter(fake_recipes.computed(workshop.session_path("fake")))
    assert set(computed.values()) == {1}


async def _load(client: Client, accepted: list[str], number: int) -> None:
    for _ in range(3):
        accepted.append(await submit(client, fake_recipes.job("fake", num_images=2, steps=2, step_seconds=0.01, number=number)))


async def _watch(client: Client, seen: list[int]) -> None:
    async for seq, event in client.events():
        if seq and not isinstance(event, Snapshot):
            seen.append(seq)
