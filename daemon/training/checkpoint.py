"""Where a training stands, on disk: `step-000100/` holds the adapter, AdamW's moments and `state.json`, and exists only when complete.

Nothing random is in it: every draw is a function of seed and step (`draws.py`).
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

from daemon.files import TEMPORARY_PREFIX, commit_directory, disk_full_in_words, sync_directory, write_atomic
from daemon.training import tensors

NUM_KEPT = 2
_NAME = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True)
class TrainerState:
    """All that changes while training, after optimizer step `step`. Tensors may be the live ones: they are written at once."""

    step: int
    adapter: dict[str, Tensor]
    moments: dict[str, Tensor]
    """`exp_avg.<weight>` and `exp_avg_sq.<weight>` of AdamW; empty before its first update."""
    num_updates: int = 0
    """AdamW's own count: less than `step` where fp16 overflowed and steps were skipped."""
    grad_scaler: dict[str, float] = field(default_factory=dict)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`state.json`. `bit_exact` is false once a run went on under another environment than it began in."""

    step: int
    fingerprint: str
    environment: dict[str, str]
    bit_exact: bool
    num_updates: int
    grad_scaler: dict[str, float]
    sha256: dict[str, str]


class _Unsound(Exception):
    """Why a checkpoint cannot be used."""


def environment(device: Any) -> dict[str, str]:
    """What besides the fingerprint decides the last bits: torch, threads, device."""
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
    return found


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:06d}"


def save_checkpoint(folder: Path, state: TrainerState, fingerprint: str, where: dict[str, str], bit_exact: bool) -> Path:
    """Write a checkpoint durably, then remove all but the last two; returns its path. Raises `NegError` `disk_full`."""
    final = checkpoint_path(folder, state.step)
    temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    contents = {"adapter.safetensors": tensors.to_bytes(state.adapter), "optimizer.safetensors": tensors.to_bytes(state.moments)}
    record = Record(
        step=state.step,
        fingerprint=fingerprint,
        environment=where,
        bit_exact=bit_exact,
        num_updates=state.num_updates,
        grad_scaler=state.grad_scaler,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    )
    contents["state.json"] = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    try:
        with disk_full_in_words(final):
            temporary.mkdir(parents=True)
            for name, content in contents.items():
                write_atomic(temporary / name, content, durable=False)
            commit_directory(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _found(folder)[NUM_KEPT:]:
        _remove(old)
    return final


def load_checkpoint(folder: Path, fingerprint: str, warn: Callable[[str], None]) -> tuple[TrainerState, Record] | None:
    """The newest sound checkpoint of this very run, or None. Unsound ones are told through `warn` and removed."""
    for path in _found(folder):
        try:
            return _load(path, fingerprint)
        except _Unsound as error:
            warn(f"The checkpoint {path.name} is left out: {error}. The one before it is used.")
            _remove(path)
    return None


def _load(path: Path, fingerprint: str) -> tuple[TrainerState, Record]:
    try:
        record = msgspec.json.decode((path / "state.json").read_bytes(), type=Record)
        contents = {name: (path / name).read_bytes() for name in ("adapter.safetensors", "optimizer.safetensors")}
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise _Unsound(f"it cannot be read ({error})") from error
    if record.fingerprint != fingerprint or checkpoint_path(path.parent, record.step) != path:
        raise _Unsound("it belongs to another run")
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != record.sha256.get(name):
            raise _Unsound(f"{name} is damaged")
    try:
        adapter, moments = (tensors.from_bytes(content) for content in contents.values())
    except SafetensorError as error:
        raise _Unsound(f"it cannot be read ({error})") from error
    return TrainerState(record.step, adapter, moments, record.num_updates, record.grad_scaler), record


def _found(folder: Path) -> list[Path]:
    """Checkpoints, newest first."""
    steps = {int(match[1]): path for path in (folder.iterdir() if folder.is_dir() else ()) if (match := _NAME.fullmatch(path.name))}
    return [steps[step] for step in sorted(steps, reverse=True)]


def _remove(path: Path) -> None:
    # Renamed first: a crash in the middle of the removal must not leave half a checkpoint under its name.
    doomed = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    path.rename(doomed)
    sync_directory(path.parent)
    shutil.rmtree(doomed, ignore_errors=True)
