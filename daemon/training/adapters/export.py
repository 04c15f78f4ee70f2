"""The finished adapter: its file's metadata, its provenance, and its place in the session. Free of torch.

`adapters/<name>/` appears whole. An adapter of another run that stands there is moved to `<name>.<its fingerprint8>`, never overwritten.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from daemon.files import TEMPORARY_PREFIX, commit_directory, disk_full_in_words, sha256_file, sync_directory, write_atomic
from daemon.protocol.events import AdapterSaved
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.monitoring.metrics import Point
from daemon.training.plan import TrainingPlan, decisive_settings

WEIGHTS_NAME = "pytorch_lora_weights.safetensors"
RECORD_NAME = "training.json"
MAX_NAME_LENGTH = 63
LOSS_WINDOW = 10
"""Steps at both ends that the loss summary averages."""


class LossSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Mean loss of the first and the last steps of the run: single ones are noise."""

    first: float | None
    last: float | None


class TrainingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`training.json`: where an adapter comes from."""

    fingerprint: str
    adapter_sha256: str
    num_bytes: int
    num_parameters: int
    spec: TrainingSpec
    base_sha256: str
    vae_sha256: str | None
    torch_dtype: str
    dataset_sha256: str
    num_images: int
    image_sha256s: tuple[str, ...]
    loss: LossSummary
    environment: dict[str, str]
    bit_exact: bool


def adapter_metadata(plan: TrainingPlan, peft_config: dict[str, object]) -> dict[str, str]:
    """The header of the adapter's file: peft's config under the key that diffusers reads, and where the weights come from.

    Neither dates nor names nor versions: equal weights of equal origin are equal bytes.
    """
    unet_config = {f"unet.{key}": value for key, value in peft_config.items()}
    provenance = {
        "fingerprint": plan.fingerprint,
        "base_sha256": plan.identity.base_sha256,
        "vae_sha256": plan.identity.vae_sha256 or "",
        "torch_dtype": plan.identity.torch_dtype,
        "dataset_sha256": plan.dataset.sha256,
        "num_images": str(len(plan.dataset.images)),
        "instance_prompt": plan.spec.instance_prompt,
        "num_steps": str(plan.spec.max_train_steps),
        "settings": json.dumps(decisive_settings(plan.spec), sort_keys=True),
    }
    return {
        "format": "pt",
        "lora_adapter_metadata": json.dumps(unet_config, indent=2, sort_keys=True),
        **{f"negtui.{key}": value for key, value in provenance.items()},
    }


def find_finished(plan: TrainingPlan, warn: Callable[[str], None]) -> AdapterSaved | None:
    """The adapter of this very run if it stands under its name, or did before another took the name: then it is moved back."""
    if not _stands(plan, plan.adapter_path, warn):
        aside = _aside_path(plan.adapter_path, plan.fingerprint)
        if not _stands(plan, aside, warn):
            return None
        make_room(plan.adapter_path)
        _move(aside, plan.adapter_path)
    return _event(plan, reused=True)


def save_adapter(plan: TrainingPlan, content: bytes, record: TrainingRecord) -> AdapterSaved:
    """Put the adapter and its record under their name, both or neither. Raises `NegError` `disk_full`."""
    temporary = plan.adapter_path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        with disk_full_in_words(plan.adapter_path):
            temporary.mkdir(parents=True)
            write_atomic(temporary / WEIGHTS_NAME, content, durable=False)
            text = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
            write_atomic(temporary / RECORD_NAME, text, durable=False)
            make_room(plan.adapter_path)
            commit_directory(temporary, plan.adapter_path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _event(plan, reused=False)


def make_record(
    plan: TrainingPlan, content: bytes, num_parameters: int, points: list[Point], environment: dict[str, str], bit_exact: bool
) -> TrainingRecord:
    """The provenance of an adapter file with these bytes, trained along these points."""
    first, last = points[:LOSS_WINDOW], points[-LOSS_WINDOW:]
    return TrainingRecord(
        fingerprint=plan.fingerprint,
        adapter_sha256=hashlib.sha256(content).hexdigest(),
        num_bytes=len(content),
        num_parameters=num_parameters,
        spec=plan.spec,
        base_sha256=plan.identity.base_sha256,
        vae_sha256=plan.identity.vae_sha256,
        torch_dtype=plan.identity.torch_dtype,
        dataset_sha256=plan.dataset.sha256,
        num_images=len(plan.dataset.images),
        image_sha256s=tuple(image.sha256 for image in plan.dataset.images),
        loss=LossSummary(first=_mean_loss(first), last=_mean_loss(last)),
        environment=environment,
        bit_exact=bit_exact,
    )


def read_record(folder: Path) -> TrainingRecord | None:
    """An adapter folder's provenance, or None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / RECORD_NAME).read_bytes(), type=TrainingRecord)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def make_room(path: Path) -> None:
    """Move what stands at an adapter's place aside, named by what it is."""
    if not os.path.lexists(path):
        return
    _move(path, next(free for free in _free_paths(_aside_path(path, _what_is(path))) if not os.path.lexists(free)))


def _stands(plan: TrainingPlan, folder: Path, warn: Callable[[str], None]) -> bool:
    record = read_record(folder)
    if record is None or record.fingerprint != plan.fingerprint:
        return False
    weights = folder / WEIGHTS_NAME
    if weights.is_file() and sha256_file(weights) == record.adapter_sha256:
        return True
    warn(f"{plan.relative(weights)} is not the file that was trained; it is moved aside and made again.")
    make_room(folder)
    return False


def _what_is(path: Path) -> str:
    """The fingerprint of the run that made it; of files that no run made, or that changed since, their hash."""
    record, weights = read_record(path), path / WEIGHTS_NAME
    found = sha256_file(weights) if weights.is_file() else "unknown"
    return record.fingerprint if record is not None and record.adapter_sha256 == found else found


def _aside_path(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name[: MAX_NAME_LENGTH - 9]}.{what[:8]}")


def _free_paths(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        suffix = f".{number}"
        yield path.with_name(f"{path.name[: MAX_NAME_LENGTH - len(suffix)]}{suffix}")
        number += 1


def _move(source: Path, destination: Path) -> None:
    source.rename(destination)
    sync_directory(destination.parent)


def _event(plan: TrainingPlan, *, reused: bool) -> AdapterSaved:
    weights = plan.adapter_path / WEIGHTS_NAME
    return AdapterSaved(
        job_id=plan.job_id,
        session=plan.job.session,
        name=plan.spec.output_name,
        path=plan.relative(weights),
        sha256=sha256_file(weights),
        num_bytes=weights.stat().st_size,
        reused=reused,
    )


def _mean_loss(points: list[Point]) -> float | None:
    return sum(point.loss for point in points) / len(points) if points else None
