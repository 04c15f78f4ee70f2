"""The finished adapter's place in the session. Free of torch.

`adapters/<name>/` appears whole: weights, model card, provenance. An adapter of another run that stands there is moved to
`<name>.<its fingerprint8>`, never overwritten.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from daemon.files import TEMPORARY_PREFIX, commit_directory, disk_full_in_words, sha256_file, sync_directory, write_atomic
from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.card import CARD_NAME, model_card
from daemon.training.adapters.metadata import TrainingRecord
from daemon.training.plan import TrainingPlan

WEIGHTS_NAME = "pytorch_lora_weights.safetensors"
RECORD_NAME = "training.json"
MAX_NAME_LENGTH = 63
WEIGHTS_NAMES = {"lora": WEIGHTS_NAME, "textual_inversion": "learned_embeds.safetensors"}
"""By method, the file that is the result: its hash is the adapter's. diffusers' own names."""


def weights_name(spec: TrainingSpec) -> str:
    """The file of an adapter folder that is the result of such a training."""
    return WEIGHTS_NAMES[spec.method]


def find_finished(plan: TrainingPlan, warn: Callable[[str], None]) -> AdapterSaved | None:
    """The adapter of this very run if it stands under its name, or did before another took the name: then it is moved back."""
    if not _stands(plan, plan.adapter_path, warn):
        aside = _aside_path(plan.adapter_path, plan.fingerprint)
        if not _stands(plan, aside, warn):
            return None
        make_room(plan.adapter_path)
        _move(aside, plan.adapter_path)
    return _event(plan, reused=True)


def save_adapter(plan: TrainingPlan, files: Mapping[str, bytes], record: TrainingRecord) -> AdapterSaved:
    """Put weight files, model card and record under their name, all or none. Raises `NegError` `disk_full`."""
    temporary = plan.adapter_path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    texts = {
        CARD_NAME: model_card(plan, record).encode(),
        RECORD_NAME: msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n",
    }
    try:
        with disk_full_in_words(plan.adapter_path):
            temporary.mkdir(parents=True)
            for name, content in (*files.items(), *texts.items()):
                write_atomic(temporary / name, content, durable=False)
            make_room(plan.adapter_path)
            commit_directory(temporary, plan.adapter_path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _event(plan, reused=False)


def read_record(folder: Path) -> TrainingRecord | None:
    """An adapter folder's provenance, or None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / RECORD_NAME).read_bytes(), type=TrainingRecord)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def init_adapter_sha256(session_path: Path, spec: TrainingSpec) -> str | None:
    """Hash of the weights that a training starts from: a part of what decides its own. None where it starts from nothing."""
    if spec.init_adapter is None:
        return None
    path = session_path / "adapters" / spec.init_adapter / weights_name(spec)
    if not path.is_file():
        raise NegError(
            "not_found",
            f"There is no adapter {spec.init_adapter!r} in this session to start from.",
            "Train it first, or clear init_adapter.",
        )
    return sha256_file(path)


def make_room(path: Path) -> None:
    """Move what stands at an adapter's place aside, named by what it is."""
    if not os.path.lexists(path):
        return
    _move(path, next(free for free in _free_paths(_aside_path(path, _what_is(path))) if not os.path.lexists(free)))


def _stands(plan: TrainingPlan, folder: Path, warn: Callable[[str], None]) -> bool:
    record = read_record(folder)
    if record is None or record.fingerprint != plan.fingerprint:
        return False
    weights = folder / weights_name(plan.spec)
    if weights.is_file() and sha256_file(weights) == record.adapter_sha256:
        return True
    warn(f"{plan.relative(weights)} is not the file that was trained; it is moved aside and made again.")
    make_room(folder)
    return False


def _what_is(path: Path) -> str:
    """The fingerprint of the run that made it; of files that no run made, or that changed since, their hash."""
    record = read_record(path)
    weights = path / (WEIGHTS_NAME if record is None else weights_name(record.spec))
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
    weights = plan.adapter_path / weights_name(plan.spec)
    return AdapterSaved(
        job_id=plan.job_id,
        session=plan.job.session,
        name=plan.spec.output_name,
        path=plan.relative(weights),
        sha256=sha256_file(weights),
        num_bytes=weights.stat().st_size,
        reused=reused,
    )
