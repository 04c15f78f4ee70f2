"""Earlier runs under the same name: gone on from where more steps are all that is asked for, else told as what they differ in.

Each run has a folder of its own below `checkpoints/`, named by its fingerprint; `run.json` in it says what decides its weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from daemon.files import whole_directory, write_atomic
from daemon.protocol.codec import pretty_json
from daemon.training import orders
from daemon.training.adapters.export import weights_name
from daemon.training.checkpoint import (
    CONTENT_NAMES,
    STATE_NAME,
    Record,
    Unsound,
    checkpoint_path,
    found_checkpoints,
    read_checkpoint,
)
from daemon.training.plan import TrainingPlan, differences, goes_on

RUN_NAME = "run.json"
MAX_NAMED = 4


def begin(plan: TrainingPlan) -> Iterator[str]:
    """Before a run's first step: write its `run.json`, and take over an earlier run's checkpoint and curve where it goes on from there.

    Yields sentences on what was found. A run that has checkpoints is left alone. The earlier run stays as it is.
    Raises `NegError`: `disk_full`, and `corrupt` where the orders given to the earlier run cannot be read.
    """
    write_atomic(plan.checkpoints_path / RUN_NAME, msgspec.json.format(msgspec.json.encode(plan.decisive, order="sorted")) + b"\n")
    if found_checkpoints(plan.checkpoints_path):
        return
    earlier = _earlier_runs(plan)
    for folder, decisive in earlier:
        if goes_on(decisive, plan.decisive):
            step = _take_over(plan, folder)
            if step:
                yield f"The training goes on from step {step} of the run {folder.name}, which differs in max_train_steps alone."
                return
    if earlier:
        folder, decisive = earlier[0]
        yield f"The training begins anew: {_in_words(differences(decisive, plan.decisive))} since the run {folder.name}."


def _earlier_runs(plan: TrainingPlan) -> list[tuple[Path, dict[str, Any]]]:
    """Other runs of this name that have a checkpoint, the latest first, and what decides their weights."""
    found = []
    name, _, _ = plan.checkpoints_path.name.rpartition("-")
    for folder in plan.checkpoints_path.parent.iterdir():
        checkpoints = found_checkpoints(folder)
        if folder != plan.checkpoints_path and folder.name.rpartition("-")[0] == name and checkpoints:
            try:
                decisive = msgspec.json.decode((folder / RUN_NAME).read_bytes(), type=dict[str, Any])
            except (OSError, msgspec.MsgspecError, ValueError):
                continue
            found.append((checkpoints[0].stat().st_mtime, folder, decisive))
    return [(folder, decisive) for _, folder, decisive in sorted(found, key=lambda one: one[:2], reverse=True)]


def _take_over(plan: TrainingPlan, folder: Path) -> int | None:
    """Copy the newest sound checkpoint that is not past the end, with curve, orders and kept adapters; returns its step."""
    metrics_path = plan.metrics_path.with_name(f"{folder.name}.jsonl")
    for path in found_checkpoints(folder):
        record = _sound_record(path)
        if record is None or record.step > plan.spec.max_train_steps or not metrics_path.is_file():
            continue
        write_atomic(plan.metrics_path, metrics_path.read_bytes())
        journal = orders.Journal(plan.checkpoints_path / orders.FILE_NAME)
        for entry in orders.Journal(folder / orders.FILE_NAME).entries:
            if entry.step <= record.step:
                journal.record(entry.step, entry.order)
        for kept_path in (folder / plan.exported_path.name).glob(f"*/{weights_name(plan.spec)}"):
            write_atomic(plan.exported_path / kept_path.parent.name / kept_path.name, kept_path.read_bytes())
        # Last of all: a run that has a checkpoint takes nothing over any more.
        _copy(plan, path, record)
        return record.step
    return None


def _sound_record(path: Path) -> Record | None:
    try:
        return read_checkpoint(path)[1]
    except Unsound:
        return None


def _copy(plan: TrainingPlan, path: Path, record: Record) -> None:
    """A checkpoint of an earlier run, as one of this run."""
    with whole_directory(checkpoint_path(plan.checkpoints_path, record.step)) as filling:
        for name in CONTENT_NAMES:
            shutil.copyfile(path / name, filling / name)
        own = msgspec.structs.replace(record, fingerprint=plan.fingerprint)
        write_atomic(filling / STATE_NAME, pretty_json(own), durable=False)


def _in_words(found: dict[str, tuple[Any, Any]]) -> str:
    """`rank is 8 (was 4), the images changed`."""
    phrases = []
    for name, (before, now) in found.items():
        is_hash = name in ("dataset", "init", "base", "vae")
        phrases.append(f"{_HASHED[name]} changed" if is_hash else f"{name} is {now} (was {before})")
    more = f" and {len(phrases) - MAX_NAMED} more settings changed" if len(phrases) > MAX_NAMED else ""
    return ", ".join(phrases[:MAX_NAMED]) + more


_HASHED = {"dataset": "the images or captions", "init": "the adapter it begins from", "base": "the base model", "vae": "the VAE"}
