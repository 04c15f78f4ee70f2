"""A finished adapter's place in the session, whatever act made it. Free of torch.

`adapters/<name>/` appears whole: weights, model card, record. An adapter of another origin that stands there is moved to
`<name>.<its fingerprint8>`, never overwritten.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon.files import sha256_file, sync_directory, whole_directory, write_atomic
from daemon.models.embedding_files import EMBEDDING_FILE
from daemon.protocol.codec import pretty_json
from daemon.protocol.events import AdapterSaved

CARD_NAME = "README.md"
WEIGHTS_NAME = "pytorch_lora_weights.safetensors"
"""diffusers' own name."""
WEIGHTS_NAMES = (WEIGHTS_NAME, EMBEDDING_FILE)
"""The file that is the result: its hash is the adapter's."""
RECORD_NAMES = ("training.json", "merging.json")
"""The record of the act that made it."""
MAX_NAME_LENGTH = 63


def step_folder(step: int) -> str:
    """Where in an adapter's folder it lies as it was after so many steps of its training."""
    return f"step-{step:06d}"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What every record of an adapter tells: the hash of all that decided it, and of its file."""

    fingerprint: str
    adapter_sha256: str


@dataclass(frozen=True)
class Place:
    """Where a job's adapter belongs, and the hash of all that decides it."""

    job_id: str
    session: str
    session_path: Path
    name: str
    fingerprint: str
    weights_name: str = WEIGHTS_NAME

    @property
    def path(self) -> Path:
        return self.session_path / "adapters" / self.name


def find_finished(place: Place, warn: Callable[[str], None]) -> AdapterSaved | None:
    """The adapter of this very origin if it stands under its name, or did before another took the name: then it is moved back."""
    if not _stands(place, place.path, warn):
        aside = _aside_path(place.path, place.fingerprint)
        if not _stands(place, aside, warn):
            return None
        _make_room(place.path)
        _move(aside, place.path)
    return _event(place, reused=True)


def save(place: Place, files: Mapping[str, bytes], card: str, record_name: str, record: msgspec.Struct) -> AdapterSaved:
    """Put weight files, model card and record under their name, all or none. Raises `NegError` `disk_full`."""
    texts = {CARD_NAME: card.encode(), record_name: pretty_json(record)}
    with whole_directory(place.path) as filling:
        for name, content in (*files.items(), *texts.items()):
            write_atomic(filling / name, content, durable=False)
        _make_room(place.path)
    return _event(place, reused=False)


def read_origin(folder: Path) -> Origin | None:
    """What an adapter folder's record tells, or None where there is none that can be read."""
    for name in RECORD_NAMES:
        try:
            return msgspec.json.decode((folder / name).read_bytes(), type=Origin)
        except (OSError, msgspec.MsgspecError, ValueError):
            continue
    return None


def _stands(place: Place, folder: Path, warn: Callable[[str], None]) -> bool:
    origin = read_origin(folder)
    if origin is None or origin.fingerprint != place.fingerprint:
        return False
    weights = folder / place.weights_name
    if weights.is_file() and sha256_file(weights) == origin.adapter_sha256:
        return True
    warn(f"{_relative(place, weights)} is not the file that was made; it is moved aside and made again.")
    _make_room(folder)
    return False


def _make_room(path: Path) -> None:
    """Move what stands at an adapter's place aside, named by what it is."""
    if not os.path.lexists(path):
        return
    _move(path, next(free for free in _free_paths(_aside_path(path, _what_is(path))) if not os.path.lexists(free)))


def _what_is(path: Path) -> str:
    """The fingerprint of what made it; of files that no act made, or that changed since, their hash."""
    origin = read_origin(path)
    weights = next((path / name for name in WEIGHTS_NAMES if (path / name).is_file()), None)
    found = "unknown" if weights is None else sha256_file(weights)
    return origin.fingerprint if origin is not None and origin.adapter_sha256 == found else found


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


def _relative(place: Place, path: Path) -> str:
    return path.relative_to(place.session_path).as_posix()


def _event(place: Place, *, reused: bool) -> AdapterSaved:
    weights = place.path / place.weights_name
    return AdapterSaved(
        job_id=place.job_id,
        session=place.session,
        name=place.name,
        path=_relative(place, weights),
        sha256=sha256_file(weights),
        num_bytes=weights.stat().st_size,
        reused=reused,
    )
