"""A training of one number without torch, steered as the real one: `NEGTUI_RECIPES=tests.fake_training:RECIPES`.

Each step takes `STEP_SECONDS` and moves the weight by learning_rate; a checkpoint is written every `checkpointing_steps` steps.
Its orders are kept in the real journal, so that a kill at any moment must leave the weight that `weight_after` computes.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from daemon import files
from daemon.protocol.events import AdapterSaved, CheckpointSaved, DurableEvent, Logged, StepProgress
from daemon.protocol.orders import Checkpoint, LearningRate, Sample, StopAndKeep
from daemon.protocol.specs import ModelSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.recipe import Interrupted, JobContext
from daemon.training.orders import FILE_NAME, Journal
from tests import fake_recipes

STEP_SECONDS = 0.01


def job(session: str = "fake", *, max_train_steps: int = 100_000, checkpointing_steps: int = 20, output_name: str = "wrong") -> TrainJob:
    """100,000 steps are a training that does not end by itself while a test looks."""
    training = TrainingSpec(max_train_steps=max_train_steps, checkpointing_steps=checkpointing_steps, output_name=output_name)
    return TrainJob(session=session, model=ModelSpec(base="toy"), training=training)


def train(spec: TrainJob, context: JobContext) -> Iterator[DurableEvent]:
    """From the checkpoint, or the beginning, to the adapter: a file with the number of steps and the weight."""
    name = spec.training.output_name
    run = context.session_path / "checkpoints" / name
    adapter = context.session_path / "adapters" / f"{name}.json"
    if not adapter.exists():
        step, weight = yield from _steps(spec.training, context, run)
        files.write_atomic(adapter, json.dumps([step, weight]).encode())
    content = adapter.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    yield AdapterSaved(
        job_id=context.job_id, session=spec.session, name=name, path=f"adapters/{adapter.name}", sha256=sha256, num_bytes=len(content)
    )


def _steps(spec: TrainingSpec, context: JobContext, run: Path) -> Generator[DurableEvent, None, tuple[int, float]]:
    checkpoint = run / "checkpoint.json"
    step, weight, rate = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, 0.0, spec.learning_rate)
    journal = Journal(run / FILE_NAME)
    while step < spec.max_train_steps:
        for order in journal.take(step + 1, context.orders()):
            match order:
                case Sample():
                    yield Logged(job_id=context.job_id, level="info", message=f"sampled at {step}")
                case Checkpoint():
                    yield _save(context, checkpoint, step, weight, rate)
                case LearningRate():
                    rate = order.value
                case StopAndKeep():
                    return step, weight
        try:
            context.check()
        except Interrupted:
            journal.take(step + 1, context.orders())
            yield _save(context, checkpoint, step, weight, rate)
            raise
        time.sleep(STEP_SECONDS)
        step += 1
        weight += rate * math.sin(step)
        context.tell(StepProgress(job_id=context.job_id, phase="train", step=step, num_steps=spec.max_train_steps, label=f"rate {rate:g}"))
        if step % spec.checkpointing_steps == 0:
            yield _save(context, checkpoint, step, weight, rate)
    return step, weight


def _save(context: JobContext, path: Path, step: int, weight: float, rate: float) -> CheckpointSaved:
    files.write_atomic(path, json.dumps([step, weight, rate]).encode())
    return CheckpointSaved(job_id=context.job_id, step=step, path=f"checkpoints/{path.parent.name}/{step}")


def weight_after(num_steps: int, journal: Journal, learning_rate: float) -> float:
    """What an undisturbed training with these orders ends at."""
    weight = 0.0
    for step in range(1, num_steps + 1):
        for order in journal.at(step):
            learning_rate = order.value if isinstance(order, LearningRate) else learning_rate
        weight += learning_rate * math.sin(step)
    return weight


RECIPES = {"train": train, **fake_recipes.RECIPES}
