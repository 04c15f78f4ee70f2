"""Orders to a running training, from the command line through real sockets to a real worker; those that change weights outlive kill -9."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from daemon import sessions
from daemon.files import sha256_file
from daemon.protocol.commands import Cancel, JobAnswer, Pause, Snapshot, Steer, Submit
from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved, AnyEvent, CheckpointSaved, JobRow, JobStateChanged, Logged, SamplesSaved, StepProgress
from daemon.protocol.orders import Checkpoint, LearningRate, Order, Sample, StopAndKeep
from daemon.protocol.specs import JobSpec, job_specs
from daemon.training.orders import FILE_NAME, Journal
from negtui.client import Client
from negtui.inbox import Item
from tests import fake_recipes, fake_training
from tests.faults.workshop import Workshop, add_noise, persist, seeded, submit, until_all

SECONDS = 120
ORDERS: tuple[Order, ...] = (Sample(), Checkpoint(), LearningRate(value=3e-4), StopAndKeep())


@pytest.fixture
def steered(make_front: Callable[[], Any]) -> Any:
    """A running daemon whose trainings are fake ones, with the session `fake`."""
    front = make_front()
    front.environment["NEGTUI_RECIPES"] = "tests.fake_training:RECIPES"
    front.add_session()
    front.start()
    return front


async def until(events: AsyncIterator[Item], wanted: Callable[[Any], bool], seconds: float = SECONDS) -> Any:
    """The first event that `wanted` accepts; a job that fails meanwhile fails the test."""
    async with asyncio.timeout(seconds):
        async for _, event in events:
            assert not isinstance(event, JobStateChanged) or event.job.state != "failed", event
            if not isinstance(event, Snapshot) and wanted(event):
                return event
    raise AssertionError("the events ended")


async def start(client: Client, spec: JobSpec) -> str:
    answer = await client.request(Submit(key=secrets.token_hex(16), spec=spec))
    return answer.job.id  # type: ignore[union-attr]


async def give(client: Client, job_id: str, order: Order) -> JobRow:
    answer = await client.request(Steer(job_id=job_id, order=order))
    assert isinstance(answer, JobAnswer)
    return answer.job


def takes_steps(job_id: str, label: str = "", after: int = 0) -> Callable[[AnyEvent], bool]:
    def takes(event: AnyEvent) -> bool:
        is_training = isinstance(event, StepProgress) and (event.job_id, event.phase) == (job_id, "train")
        return is_training and label in event.label and event.step > after

    return takes


def has_become(job_id: str, state: str) -> Callable[[AnyEvent], bool]:
    return lambda event: isinstance(event, JobStateChanged) and (event.job.id, event.job.state) == (job_id, state)


async def negtui(front: Any, *argv: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "negtui.cli", "--workspace", str(front.places.workspace), *argv]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def fake_adapter(session_path: Path) -> tuple[int, float]:
    step, weight = json.loads((session_path / "adapters" / "wrong.json").read_text())
    return step, weight


def fake_journal(session_path: Path) -> Journal:
    return Journal(session_path / "checkpoints" / "wrong" / FILE_NAME)


def test_a_person_steers_a_training_from_the_command_line(steered: Any) -> None:
    async def trip() -> None:
        async with Client.connect(steered.endpoints) as client:
            events = client.events()
            job = await start(client, fake_training.job(checkpointing_steps=1_000_000))
            await until(events, takes_steps(job))
            code, out, _ = await negtui(steered, "sample", job[:12])
            assert (code, out) == (0, f"train fake ({job}): running; paints sample pictures at its next step\n")
            await until(events, lambda event: isinstance(event, Logged) and event.message.startswith("sampled at"))
            assert (await negtui(steered, "checkpoint", job))[0] == 0
            assert (await until(events, lambda event: isinstance(event, CheckpointSaved))).step > 0
            code, out, _ = await negtui(steered, "lr", job, "5e-5", "--json")
            assert (code, json.loads(out)["job"]["state"]) == (0, "running")
            await until(events, takes_steps(job, "rate 5e-05"))
            assert (await negtui(steered, "keep", job))[0] == 0
            saved = await until(events, lambda event: isinstance(event, AdapterSaved))
            assert saved.job_id == job
            await until(events, has_become(job, "done"))
            code, _, err = await negtui(steered, "keep", job)
            assert code == 2
            assert f"train job {job} does not run, it is done." in err

    asyncio.run(trip())
    folder = steered.places.sessions_path / "fake"
    step, weight = fake_adapter(folder)
    journal = fake_journal(folder)
    assert 0 < step < 100_000
    assert [type(entry.order) for entry in journal.entries] == [LearningRate, StopAndKeep]
    assert journal.at(step + 1) == (StopAndKeep(),)
    assert weight == fake_training.weight_after(step, journal, 1e-4)


def test_orders_that_nobody_can_take_are_a_conflict_in_words(steered: Any) -> None:
    async def refused(client: Client, job: str) -> str:
        words = set()
        for order in ORDERS:
            with pytest.raises(NegError) as refusal:
                await give(client, job, order)
            assert refusal.value.detail.code == ("conflict" if job != "nowhere" else "not_found")
            words.add(refusal.value.detail.message)
        return words.pop()

    async def trip() -> None:
        async with Client.connect(steered.endpoints) as client:
            events = client.events()
            assert "no job nowhere" in await refused(client, "nowhere")
            training = await start(client, fake_training.job())
            painting = await start(client, fake_recipes.job(num_images=1000, step_seconds=0.01))
            await until(events, takes_steps(training))
            assert "is no training" in await refused(client, painting)
            behind = await start(client, fake_training.job(output_name="behind"))
            assert "it is queued" in await refused(client, behind)
            await client.request(Pause(job_id=training))
            await until(events, has_become(training, "paused"))
            assert "it is paused" in await refused(client, training)
            await until(events, lambda event: isinstance(event, StepProgress) and event.job_id == painting)
            assert "is no training" in await refused(client, painting)
            await client.request(Cancel(job_id=painting))
            await until(events, takes_steps(behind))
            await give(client, behind, StopAndKeep())
            await until(events, has_become(behind, "done"))
            assert "it is done" in await refused(client, behind)

    asyncio.run(trip())


def test_orders_given_again_and_again_do_no_harm(steered: Any) -> None:
    async def trip() -> None:
        async with Client.connect(steered.endpoints) as client:
            events = client.events()
            job = await start(client, fake_training.job())
            await until(events, takes_steps(job))
            for _ in range(5):
                rows = await asyncio.gather(*(give(client, job, order) for order in ORDERS[:3] * 10))
                assert {row.state for row in rows} == {"running"}
            ends = await asyncio.gather(*(give(client, job, StopAndKeep()) for _ in range(20)), return_exceptions=True)
            assert isinstance(ends[0], JobRow)
            assert all(isinstance(end, JobRow) or (isinstance(end, NegError) and end.detail.code == "conflict") for end in ends)
            await until(events, has_become(job, "done"))

    asyncio.run(trip())
    folder = steered.places.sessions_path / "fake"
    step, weight = fake_adapter(folder)
    assert weight == fake_training.weight_after(step, fake_journal(folder), 1e-4)


@pytest.mark.parametrize("num_kills", [6, pytest.param(60, marks=pytest.mark.full)])
@pytest.mark.timeout(600)
def test_orders_outlive_kills_of_worker_and_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_kills: int) -> None:
    workshop = Workshop(tmp_path, monkeypatch, "tests.fake_training:RECIPES")
    folder = workshop.session_path("fake")
    folder.mkdir()
    chance = seeded("kills of a steered training")

    async def trip() -> None:
        async with workshop.open() as client:
            job = await submit(client, fake_training.job())
            for number in range(num_kills):
                rate = LearningRate(value=10.0 ** -chance.uniform(2, 6))
                await order_until_taken(client, job, folder, rate)
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                if number % 3 == 2:
                    workshop.kill_front()
                    await workshop.restart()
                else:
                    workshop.kill_worker()
            await order_until_taken(client, job, folder, StopAndKeep())
            workshop.kill_worker()
            await until_all(client, [job], "done", resume_lost=True)

    asyncio.run(trip())
    step, weight = fake_adapter(folder)
    journal = fake_journal(folder)
    # A rate given within the same step, and recorded just before its worker was killed, may stand before it.
    assert journal.at(step + 1)[-1:] == (StopAndKeep(),)
    assert weight == fake_training.weight_after(step, journal, 1e-4)


async def order_until_taken(client: Client, job: str, folder: Path, order: LearningRate | StopAndKeep) -> None:
    """Give an order again and again until the journal has it: between two workers nobody takes it, and a kill may void it."""
    async with asyncio.timeout(SECONDS):
        while order not in [entry.order for entry in fake_journal(folder).entries]:
            try:
                await persist(lambda: give(client, job, order))
            except NegError as error:
                if error.detail.code != "conflict":
                    raise
                await until_all(client, [job], "running", resume_lost=True)
            await asyncio.sleep(0.05)


@pytest.mark.timeout(600)
def test_the_toy_ends_as_the_undisturbed_run_with_the_same_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real training, steered and killed; and one that finds the same orders in its journal and is left alone."""
    workshop = Workshop(tmp_path, monkeypatch)
    steered, calm = make_toy(workshop, "steered"), make_toy(workshop, "calm")

    async def trip() -> None:
        async with workshop.open() as client:
            events = client.events()
            job = await submit(client, toy_spec(workshop, "steered"))
            await until(events, takes_steps(job))
            for order in (Sample(), Checkpoint()):
                await give(client, job, order)
            await until(events, lambda event: isinstance(event, SamplesSaved))
            await until(events, lambda event: isinstance(event, CheckpointSaved))
            await give(client, job, LearningRate(value=1e-3))
            await until(events, lambda event: isinstance(event, Logged) and "learning_rate is 0.001" in event.message)
            assert workshop.kill_worker()
            assert last_checkpoint(steered) < ordered_step(steered), "the order must be replayed, not found in a checkpoint"
            await until(events, has_become(job, "running"))
            await until(events, takes_steps(job, after=ordered_step(steered) + 3))
            await give(client, job, StopAndKeep())
            kept = await until(events, lambda event: isinstance(event, AdapterSaved))
            assert 0 < (kept.step or 0) < 2000
            await until_all(client, [job], "done")
            journal = journal_path(steered)
            target = calm / journal.relative_to(steered)
            target.parent.mkdir(parents=True)
            shutil.copy(journal, target)
            other = await submit(client, toy_spec(workshop, "calm"))
            await until_all(client, [other], "done")

    asyncio.run(trip())
    assert adapters(steered) == adapters(calm)
    rates = [json.loads(line)["learning_rate"] for line in points_path(steered).read_text().splitlines() if "learning_rate" in line]
    assert rates == pytest.approx([1e-4] * (ordered_step(steered) - 1) + [1e-3] * (len(rates) - ordered_step(steered) + 1))


def make_toy(workshop: Workshop, name: str) -> Path:
    """A session of the toy with four pictures of noise, and a training too long to end by itself."""
    changes = {
        "training.max_train_steps": "2000",
        "training.checkpointing_steps": "500",
        "training.train_batch_size": "1",
        "training.sample_prompts": '["a red circle"]',
        "training.sample_num_inference_steps": "2",
    }
    sessions.create(workshop.places.sessions_path, name, "toy", changes)
    folder = workshop.session_path(name)
    add_noise(folder / "dataset", 4)
    return folder


def journal_path(folder: Path) -> Path:
    (path,) = folder.glob(f"checkpoints/*/{FILE_NAME}")
    return path


def ordered_step(folder: Path) -> int:
    """From which step on the ordered learning rate holds."""
    return next(entry.step for entry in Journal(journal_path(folder)).entries if isinstance(entry.order, LearningRate))


def last_checkpoint(folder: Path) -> int:
    return max(int(path.name.removeprefix("step-")) for path in folder.glob("checkpoints/*/step-*"))


def points_path(folder: Path) -> Path:
    (path,) = folder.glob("metrics/*.jsonl")
    return path


def toy_spec(workshop: Workshop, name: str) -> JobSpec:
    return job_specs(name, sessions.read(workshop.places.sessions_path, name))["train"]


def adapters(folder: Path) -> dict[str, str]:
    """Hash by name of the weights the training made."""
    found = {path.name: sha256_file(path) for path in folder.glob("adapters/*/*.safetensors")}
    assert found
    return found
