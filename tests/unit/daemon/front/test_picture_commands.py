"""Handlers over a real store and a real manifest, without sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from painting import request

from daemon.front.peers import Peer
from daemon.front.picture_commands import PictureCommands
from daemon.jobs import runs
from daemon.jobs.queue import JobQueue
from daemon.manifest import write_manifest
from daemon.protocol import codec
from daemon.protocol.commands import ListImages, MarkImages, PlanSynthesis, ReadComparison
from daemon.protocol.errors import NegError
from daemon.protocol.events import ImageSaved, ImagesMarked, JobRow
from daemon.protocol.specs import ImageRecord
from daemon.store.events import Fence
from tests.job_specs import open_queue, submission

PEER = Peer(id=b"a", heard=0.0, tokens=1.0)
TEXT = """[model]
base = "toy"
[synthesis]
keywords = ["blurry"]
weights = ["++"]
guidance_scales = [5.0]
seeds = [1, 2, 3]
num_inference_steps = 4
width = 64
height = 64
"""


def record(id: str) -> ImageRecord:
    return ImageRecord(id=id, path=f"dataset/{id}.png", sha256="0", request=request())


class Bench:
    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue
        self.commands = PictureCommands(queue, asyncio.Lock())

    async def do(self, command: Any) -> Any:
        return await self.commands.table()[type(command)](command, PEER)

    async def told(self) -> list[Any]:
        events = [codec.decode_event(one.body) for one in await self.queue.log.read(0)]
        return [event for event in events if isinstance(event, ImagesMarked)]


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    async with open_queue(folder) as queue:
        session = folder / "sessions/fake"
        (session / "dataset").mkdir(exist_ok=True)
        (session / "session.toml").write_text(TEXT)
        write_manifest(session / "dataset/manifest.jsonl", [record("a"), record("b")])
        for id in "ab":
            (session / f"dataset/{id}.png").touch()
        yield Bench(queue)


def test_only_what_changed_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with bench(tmp_path) as made:
            await made.do(MarkImages(session="fake", ids=("a",), status="keep"))
            await made.do(MarkImages(session="fake", ids=("a", "b"), status="keep"))
            again = await made.do(MarkImages(session="fake", ids=("a", "b"), status="keep"))
            assert [(mark.id, mark.status) for mark in again.marks] == [("a", "keep"), ("b", "keep")]
            assert [[mark.id for mark in event.marks] for event in await made.told()] == [["a"], ["b"]]
            assert [one.status for one in (await made.do(ListImages(session="fake"))).images] == ["keep", "keep"]

    asyncio.run(scene())


async def paint(queue: JobQueue, job: JobRow, count: int) -> None:
    """What a worker tells of a job that paints."""
    for index in range(count):
        image = msgspec.structs.replace(record(str(index)), id=f"i{index}")
        saved = ImageSaved(job_id=job.id, session="fake", image=image, index=index, num_images=count)
        assert await queue.log.append(saved, fence=Fence(job.id, job.fence)) is not None
        await asyncio.sleep(0.02)


def test_a_plan_is_measured_on_what_this_model_painted_here(tmp_path: Path) -> None:
    async def scene() -> None:
        async with bench(tmp_path) as made:
            unknown = await made.do(PlanSynthesis(name="fake"))
            assert (unknown.num_images, unknown.num_present, unknown.seconds, unknown.num_measured) == (3, 0, None, 0)
            await made.queue.submit(submission())
            job = await made.queue.store.write(runs.start_next)
            assert job is not None
            await paint(made.queue, job, 4)
            measured = await made.do(PlanSynthesis(name="fake"))
            assert measured.num_measured == 3
            assert measured.seconds_per_image > 0
            assert measured.seconds == 3 * measured.seconds_per_image
            other = await made.do(PlanSynthesis(name="fake", changes={"model.vae": '"another"'}))
            assert other.num_measured == 0
            more = await made.do(PlanSynthesis(name="fake", changes={"synthesis.seeds": "[1, 2, 3, 4]"}))
            assert more.num_images == 4

    asyncio.run(scene())


def test_no_synthesis_and_no_comparison_are_said_in_words(tmp_path: Path) -> None:
    async def scene() -> None:
        async with bench(tmp_path) as made:
            (tmp_path / "sessions/fake/session.toml").write_text('[model]\nbase = "toy"\n')
            for command, code in (
                (PlanSynthesis(name="fake"), "invalid"),
                (PlanSynthesis(name="nosuch"), "not_found"),
                (ReadComparison(session="fake", name="default"), "not_found"),
                (ListImages(session="nosuch"), "not_found"),
            ):
                with pytest.raises(NegError) as refused:
                    await made.do(command)
                assert refused.value.detail.code == code

    asyncio.run(scene())
