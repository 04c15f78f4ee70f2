"""Where a training stands, on disk: `step-000100/` holds the adapter, what the optimizer remembers and `state.json`; complete or not there.

Nothing random is in it: every draw is a function of seed and step (`draws.py`). Knows nothing of what makes a step the best one.
"""

from __future__ import annotations

import hashlib
import platform
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from torch import Tensor

from daemon.adapters import tensors
from daemon.files import TEMPORARY_PREFIX, sync_directory, whole_directory, write_atomic
from daemon.protocol.codec import pretty_json
from daemon.training.optimizers.make import OptimizerState

NUM_KEPT = 2
BEST_NAME = "best.json"
STATE_NAME = "state.json"
CONTENT_NAMES = ("adapter.safetensors", "optimizer.safetensors")
_NAME = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True)
class TrainerState:
    """All that changes while training, after optimizer step `step`. Tensors may be the live ones: they are written at once."""

    step: int
    adapter: dict[str, Tensor]
    """The live weights, not their average: that is in `optimizer`."""
    optimizer: OptimizerState = field(default_factory=OptimizerState)
    grad_scaler: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """JSON of whoever else must go on exactly: early stopping, a rate that a person changed."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`state.json`. `bit_exact` is false once a run went on under another environment than it began in."""

    step: int
    fingerprint: str
    environment: dict[str, str]
    bit_exact: bool
    optimizer: dict[str, Any]
    grad_scaler: dict[str, float]
    facts: dict[str, Any]
    sha256: dict[str, str]


class Unsound(Exception):
    """Why a checkpoint cannot be used."""


class _Best(msgspec.Struct, frozen=True):
    """`best.json`."""

    step: int


def environment(device: Any, num_processes: int = 1) -> dict[str, str]:
    """What besides the fingerprint decides the last bits: torch, threads, device, over how many processes gradients are added up."""
    device = torch.device(device)
    found = {"torch": str(torch.__version__), "machine": platform.machine(), "device": device.type}
    if device.type == "cuda":
        found |= {
            "device": torch.cuda.get_device_name(device),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
        }
    else:
        found["num_threads"] = str(torch.get_num_threads())
    return found | {"num_processes": str(num_processes)} if num_processes > 1 else found


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:06d}"


def temporary_path(folder: Path) -> Path:
    """A name that no checkpoint has, for what is not complete yet or no longer."""
    return folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"


def save_checkpoint(folder: Path, state: TrainerState, fingerprint: str, where: dict[str, str], bit_exact: bool) -> Path:
    """Write a checkpoint durably, then remove all but the last two and the best; returns its path. Raises `NegError` `disk_full`."""
    final = checkpoint_path(folder, state.step)
    parts = (tensors.to_bytes(state.adapter), tensors.to_bytes(state.optimizer.tensors))
    contents = dict(zip(CONTENT_NAMES, parts, strict=True))
    record = Record(
        step=state.step,
        fingerprint=fingerprint,
        environment=where,
        bit_exact=bit_exact,
        optimizer=state.optimizer.facts,
        grad_scaler=state.grad_scaler,
        facts=state.facts,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    )
    contents[STATE_NAME] = pretty_json(record)
    with whole_directory(final) as filling:
        for name, content in contents.items():
            write_atomic(filling / name, content, durable=False)
    best = best_step(folder)
    for old in found_checkpoints(folder)[NUM_KEPT:]:
        if old != checkpoint_path(folder, best or 0):
            _remove(old)
    return final


def mark_best(folder: Path, step: int) -> None:
    """Keep the checkpoint of `step` beside the last two from now on; the one marked before falls under the common rule.

    A checkpoint that is gone on from may be older than the mark: mark again after `load_checkpoint` what its facts call the best.
    Raises `ValueError` where there is no such checkpoint.
    """
    if not checkpoint_path(folder, step).is_dir():
        raise ValueError(f"there is no checkpoint of step {step}")
    if best_step(folder) != step:
        write_atomic(folder / BEST_NAME, msgspec.json.encode(_Best(step)) + b"\n")


def best_step(folder: Path) -> int | None:
    """The step marked as the best, as long as its checkpoint is there."""
    try:
        step = msgspec.json.decode((folder / BEST_NAME).read_bytes(), type=_Best).step
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
    return step if checkpoint_path(folder, step).is_dir() else None


def load_best(folder: Path, fingerprint: str, warn: Callable[[str], None]) -> tuple[TrainerState, Record] | None:
    """The checkpoint marked as the best, or None. An unsound one is told through `warn` and removed."""
    best = best_step(folder)
    if best is None:
        return None
    path = checkpoint_path(folder, best)
    try:
        return read_checkpoint(path, fingerprint)
    except Unsound as error:
        warn(f"The checkpoint {path.name}, the best one, is left out: {error}.")
        _remove(path)
        return None


def load_checkpoint(folder: Path, fingerprint: str, warn: Callable[[str], None]) -> tuple[TrainerState, Record] | None:
    """The newest sound checkpoint of this very run, or None. Unsound ones are told through `warn` and removed."""
    for path in found_checkpoints(folder):
        try:
            return read_checkpoint(path, fingerprint)
        except Unsound as error:
            warn(f"The checkpoint {path.name} is left out: {error}. The one before it is used.")
            _remove(path)
    return None


def read_checkpoint(path: Path, fingerprint: str | None = None) -> tuple[TrainerState, Record]:
    """One checkpoint, its bytes checked against its record; raises `Unsound`. None: of whichever run."""
    try:
        record = msgspec.json.decode((path / STATE_NAME).read_bytes(), type=Record)
        contents = {name: (path / name).read_bytes() for name in CONTENT_NAMES}
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise Unsound(f"it cannot be read ({error})") from error
    if fingerprint not in (None, record.fingerprint) or checkpoint_path(path.parent, record.step) != path:
        raise Unsound("it belongs to another run")
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != record.sha256.get(name):
            raise Unsound(f"{name} is damaged")
    try:
        adapter, remembered = (tensors.from_bytes(content) for content in contents.values())
    except SafetensorError as error:
        raise Unsound(f"it cannot be read ({error})") from error
    optimizer = OptimizerState(remembered, record.optimizer)
    return TrainerState(record.step, adapter, optimizer, record.grad_scaler, record.facts), record


def found_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run by name alone, newest first."""
    steps = {int(match[1]): path for path in (folder.iterdir() if folder.is_dir() else ()) if (match := _NAME.fullmatch(path.name))}
    return [steps[step] for step in sorted(steps, reverse=True)]


def _remove(path: Path) -> None:
    # Renamed first: a crash in the middle of the removal must not leave half a checkpoint under its name.
    doomed = temporary_path(path.parent)
    path.rename(doomed)
    sync_directory(path.parent)
    shutil.rmtree(doomed, ignore_errors=True)
