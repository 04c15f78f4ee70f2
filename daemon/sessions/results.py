"""What a finished comparison holds, read from `summary.json`, `manifest.jsonl`, `metrics.csv`. How it was made is not known here."""

from __future__ import annotations

import csv
import io
import itertools
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon.manifest import MANIFEST_FILE, read_manifest
from daemon.protocol import codec
from daemon.protocol.commands import ComparedArm, ComparedBlock, ComparedCell, ComparisonAnswer, ReadComparison
from daemon.protocol.diagnosis import Diagnosis
from daemon.protocol.effects import Claim, Effect
from daemon.protocol.errors import NegError
from daemon.sessions.allowed import did_you_mean
from daemon.sessions.reading import require_session

COMPARISONS_FOLDER = "comparisons"
MAX_FILE_BYTES = 256 * 2**20
_PLAIN_COLUMNS = ("block", "prompt", "seed", "arm", "image")


class _Summary(msgspec.Struct, frozen=True, kw_only=True):
    """As much of `summary.json` as is told."""

    verdict: str
    means: dict[str, dict[str, float]] = {}
    effects: tuple[Effect, ...] = ()
    sheet_paths: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    diagnosis_paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Read:
    """A comparison in memory; `stamp` is that of its summary, which is written last."""

    path: Path
    stamp: tuple[int, int, int]
    summary: _Summary
    arms: tuple[ComparedArm, ...]
    blocks: tuple[ComparedBlock, ...]
    diagnosis: Diagnosis | None


class Comparisons:
    """The comparisons below `sessions_path`; the one read last is kept in memory, for its next page. For any thread."""

    def __init__(self, sessions_path: Path) -> None:
        self._sessions_path = sessions_path
        self._last: _Read | None = None
        self._lock = threading.Lock()

    def read(self, command: ReadComparison) -> ComparisonAnswer:
        """A page of a comparison. Raises `NegError` `not_found` (none of this name is finished), `corrupt` (files that do not fit)."""
        folder = require_session(self._sessions_path, command.session) / COMPARISONS_FOLDER
        with self._lock:
            found = self._last = self._find(folder, command.name)
        relative = f"{COMPARISONS_FOLDER}/{command.name}"
        return ComparisonAnswer(
            session=command.session,
            name=command.name,
            arms=found.arms,
            blocks=codec.fitting(found.blocks[command.after_block : command.after_block + command.limit]),
            num_blocks=len(found.blocks),
            effects=found.summary.effects,
            claims=found.summary.claims,
            diagnosis=found.diagnosis if command.after_block == 0 else None,
            verdict=found.summary.verdict,
            report_path=f"{relative}/report.html",
            sheet_paths=tuple(f"{relative}/{name}" for name in found.summary.sheet_paths),
        )

    def whole(self, session: str, name: str) -> tuple[Path, tuple[ComparedArm, ...], tuple[ComparedBlock, ...]]:
        """A comparison's folder, its arms and all its blocks. Raises as `read`."""
        folder = require_session(self._sessions_path, session) / COMPARISONS_FOLDER
        with self._lock:
            found = self._last = self._find(folder, name)
        return found.path, found.arms, found.blocks

    def _find(self, folder: Path, name: str) -> _Read:
        path = folder / name
        try:
            status = (path / "summary.json").stat()
        except OSError:
            known = sorted(one.parent.name for one in folder.glob("*/summary.json"))
            message = f"No comparison {name!r} is finished in {folder.parent.name}: {did_you_mean(name, known)}"
            raise NegError("not_found", message, f"Make it: negtui compare {folder.parent.name}") from None
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._last is not None and (self._last.path, self._last.stamp) == (path, stamp):
            return self._last
        try:
            return _read(path, stamp)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, csv.Error, msgspec.MsgspecError) as error:
            message = f"The files of the comparison {name!r} do not fit each other: {type(error).__name__}: {error}"
            raise NegError("corrupt", message[:500], f"Make it anew: negtui compare {folder.parent.name}") from None


def _read(path: Path, stamp: tuple[int, int, int]) -> _Read:
    summary = msgspec.json.decode(_content(path / "summary.json"), type=_Summary)
    records = {(record.id, record.arm): record for record in read_manifest(path / MANIFEST_FILE)}
    rows = list(csv.DictReader(io.StringIO(_content(path / "metrics.csv").decode())))
    names = list(dict.fromkeys(row["arm"] for row in rows))
    blocks = []
    for index, (_, group) in enumerate(itertools.groupby(rows, key=lambda row: row["block"])):
        cells = {row["arm"]: row for row in group}
        first = cells[names[0]]
        painted = tuple(ComparedCell(image=records[cells[name]["image"], name], values=_values(cells[name])) for name in names)
        blocks.append(ComparedBlock(index=index, prompt=first["prompt"], seed=int(first["seed"]), cells=painted))
    arms = tuple(_arm(name, number, blocks, summary) for number, name in enumerate(names))
    diagnosis = msgspec.json.decode(_content(path / "diagnosis.json"), type=Diagnosis) if summary.diagnosis_paths else None
    return _Read(path, stamp, summary, arms, tuple(blocks), diagnosis)


def _arm(name: str, number: int, blocks: Sequence[ComparedBlock], summary: _Summary) -> ComparedArm:
    """An arm as its pictures tell: an embedding may act on some prompts only."""
    requests = [block.cells[number].image.request for block in blocks]
    embeddings = (one for request in requests if request.embeddings is not msgspec.UNSET for one in request.embeddings)
    return ComparedArm(
        name=name,
        negative_prompt=requests[0].negative_prompt,
        adapters=requests[0].adapters,
        embeddings=tuple(dict.fromkeys(embeddings)),
        means={metric: value for metric, value in summary.means.get(name, {}).items() if math.isfinite(value)},
    )


def _values(row: dict[str, str]) -> dict[str, float]:
    found = {name: float(text) for name, text in row.items() if name not in _PLAIN_COLUMNS and text}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _content(path: Path) -> bytes:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_FILE_BYTES // 2**20} MiB")
    return path.read_bytes()
