"""Pictures listed, marked and planned over a real front: durable, in order, beside a job that writes to the same manifest."""

import asyncio
import random
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from daemon.manifest import Manifest, read_manifest, write_manifest
from daemon.protocol.commands import Images, ListImages, Marked, MarkImages, PlanSynthesis, RestoreMarks, WantedMark
from daemon.protocol.errors import NegError
from daemon.protocol.events import ImagesMarked
from daemon.protocol.specs import ImageRecord, ImageRequest
from negtui.client import Client

REQUEST = ImageRequest(
    base_sha256="b", torch_dtype="float32", prompt="p", seed=0, guidance_scale=5.0, num_inference_steps=4, width=64, height=64
)


def record(number: int) -> ImageRecord:
    id = f"{number:032x}"
    return ImageRecord(id=id, path=f"dataset/{id}.png", sha256="0", request=REQUEST, keyword="blurry", weight="++++")


def fill(front: Any, count: int) -> Path:
    """`fake` gets so many pictures."""
    folder: Path = front.places.sessions_path / "fake/dataset"
    folder.mkdir()
    records = [record(number) for number in range(count)]
    write_manifest(folder / "manifest.jsonl", records)
    for one in records:
        (folder / f"{one.id}.png").touch()
    return folder / "manifest.jsonl"


async def ask(client: Client, command: Any) -> Any:
    return await client.request(command)


def test_ten_thousand_pictures_come_in_pages(front: Any) -> None:
    path = fill(front, 10_000)
    (path.parent / "own.jpg").touch()
    (path.parent / f"{record(17).id}.png").unlink()

    async def scene() -> list[ImageRecord]:
        found: list[ImageRecord] = []
        async with Client.connect(front.endpoints) as client:
            while True:
                page = await ask(client, ListImages(session="fake", after=found[-1].id if found else "", limit=2000))
                assert isinstance(page, Images)
                found += page.images
                assert (page.total, page.unlisted) == (9999, ("dataset/own.jpg",) if page.is_last else ())
                if page.is_last:
                    return found

    found = asyncio.run(scene())
    assert found == [record(number) for number in range(10_000) if number != 17]


def test_marks_are_told_undone_and_refused_whole(front: Any) -> None:
    path = fill(front, 3)
    first, second, third = (record(number).id for number in range(3))

    async def scene() -> None:
        async with Client.connect(front.endpoints) as client:
            told = client.events(since_seq=client.welcome.head_seq)
            marked = await ask(client, MarkImages(session="fake", ids=(first, third), status="reject", add_tags=("b", "a")))
            assert isinstance(marked, Marked)
            assert [(mark.id, mark.status, mark.tags) for mark in marked.marks] == [(id, "reject", ("a", "b")) for id in (first, third)]
            for ids, code in (((second, "nosuch"), "not_found"), (("a/b",), "invalid")):
                with pytest.raises(NegError) as refused:
                    await ask(client, MarkImages(session="fake", ids=ids, status="keep"))
                assert refused.value.detail.code == code
            assert [one.status for one in read_manifest(path)] == ["reject", "undecided", "reject"]
            undone = await ask(client, RestoreMarks(session="fake", marks=marked.before))
            assert undone.before == marked.marks
            events = []
            async for _, event in told:
                events += [event] if isinstance(event, ImagesMarked) else []
                if len(events) == 2:
                    break
            assert [one.marks for one in events] == [marked.marks, marked.before]

    asyncio.run(scene())
    assert read_manifest(path) == [record(number) for number in range(3)]


def test_two_clients_at_once_end_where_the_last_event_says(front: Any) -> None:
    path = fill(front, 20)
    ids = tuple(record(number).id for number in range(20))

    async def mark(client: Client, status: Any) -> None:
        for _ in range(25):
            await ask(client, MarkImages(session="fake", ids=ids, status=status))

    async def scene() -> str:
        async with Client.connect(front.endpoints) as one, Client.connect(front.endpoints) as two:
            told = one.events(since_seq=one.welcome.head_seq)
            await asyncio.gather(mark(one, "keep"), mark(two, "reject"))
            await ask(one, MarkImages(session="fake", ids=ids, add_tags=("end",)))
            async for _, event in told:
                if isinstance(event, ImagesMarked) and event.marks[0].tags == ("end",):
                    return event.marks[0].status
        raise AssertionError

    last = asyncio.run(scene())
    assert {one.status for one in read_manifest(path)} == {last}


WRITER = """
import sys
from pathlib import Path
from daemon.manifest import Manifest
from tests.trips.test_curation import record
manifest = Manifest(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(1000, 1000 + int(sys.argv[2])):
    manifest.keep(record(number))
    print(number, flush=True)
"""


@pytest.mark.parametrize("num_kills", [4, pytest.param(40, marks=pytest.mark.full)])
def test_no_mark_and_no_picture_is_lost_though_the_daemon_is_killed(front: Any, num_kills: int, record_property: Any) -> None:
    seed = secrets.randbits(32)
    record_property("seed", seed)
    delays = random.Random(seed)
    path = fill(front, 300)
    ids = tuple(record(number).id for number in range(300))
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(100_000)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    answered: tuple[str, ...] = ()
    num_answered = 0

    async def mark_until_killed(round_: int) -> tuple[str, ...]:
        """Mark all pictures again and again; returns the tags of the request that was not answered."""
        nonlocal answered, num_answered
        async with Client.connect(front.endpoints) as client:
            killer = threading.Timer(delays.uniform(0.05, 0.4), front.kill)
            killer.start()
            number = 0
            while True:
                tags = (f"r{round_}-{number}",)
                number += 1
                try:
                    async with asyncio.timeout(1.5):
                        await ask(client, RestoreMarks(session="fake", marks=tuple(WantedMark(id=id, tags=tags) for id in ids)))
                except (TimeoutError, NegError):
                    killer.join()
                    return tags
                answered, num_answered = tags, num_answered + 1

    try:
        for round_ in range(num_kills):
            tried = asyncio.run(mark_until_killed(round_))
            # What was answered is done; what was not may be done, picture by picture.
            found = {one.id: one.tags for one in read_manifest(path)}
            assert {found[id] for id in ids} <= {answered, tried}, f"seed {seed}"
            front.start()

            async def settle() -> None:
                nonlocal answered
                async with Client.connect(front.endpoints) as client:
                    await ask(client, RestoreMarks(session="fake", marks=tuple(WantedMark(id=id) for id in ids)))
                answered = ()

            asyncio.run(settle())
    finally:
        writer.kill()
        written = [int(line) for line in writer.communicate()[0].split("\n")[:-1]]
    assert written
    assert num_answered > num_kills
    assert {record(number).id for number in (*range(300), *written)} <= {one.id for one in Manifest(path).records()}


def test_a_plan_counts_what_is_there_and_knows_no_time_before_the_first_picture(front: Any) -> None:
    fill(front, 1)
    text = '[model]\nbase = "toy"\n[synthesis]\nkeywords = ["blurry"]\nguidance_scales = [5.0, 6.0]\n'
    (front.places.sessions_path / "fake/session.toml").write_text(text + "num_inference_steps = 4\nwidth = 64\nheight = 64\n")

    async def scene() -> None:
        async with Client.connect(front.endpoints) as client:
            plan = await ask(client, PlanSynthesis(name="fake", changes={"synthesis.seeds": "[1, 2, 3]"}))
            assert (plan.num_images, plan.seconds, plan.num_bytes) == (6, None, 6 * 64 * 64 * 2)
            begun = time.monotonic()
            with pytest.raises(NegError) as refused:
                await ask(client, PlanSynthesis(name="fake", changes={"synthesis.seed": "1"}))
            assert "synthesis.seeds" in str(refused.value)
            assert time.monotonic() - begun < 30

    asyncio.run(scene())
