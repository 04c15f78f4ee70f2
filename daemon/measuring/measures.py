"""Measures every picture once: figures are kept in `measures.jsonl` by the picture's file and the scorer's version. Torch-free.

A scorer that needs a model is imported only when a picture is still to be measured by it.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from PIL import Image

from daemon import files, toy
from daemon.manifest import append_line
from daemon.measuring import metrics
from daemon.measuring.metrics import Measure, Values
from daemon.models.identity import remembered_sha256s
from daemon.models.scorer_files import find_scorer_files
from daemon.pictures import open_rgb
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.errors import NegError
from daemon.protocol.events import StepProgress
from daemon.protocol.specs import ScorerPaths
from daemon.recipe import JobContext

BATCH_SIZE = 16


class Asking(Protocol):
    """A section or a job that names scorers, and where their files are."""

    @property
    def scorers(self) -> tuple[str, ...]: ...
    @property
    def scorer_paths(self) -> ScorerPaths: ...


@dataclass(frozen=True)
class Scorer:
    """A way of measuring. `version` changes whenever its figures would; `load` may be slow and import torch."""

    name: str
    version: str
    load: Callable[[], Measure]


@dataclass(frozen=True)
class Subject:
    """A picture to be measured."""

    path: Path
    sha256: str
    prompt: str


class MeasureLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `measures.jsonl`: what one scorer found in one picture file."""

    picture_sha256: str
    scorer: str
    values: dict[str, float]


def find_scorers(asking: Asking, session_path: Path) -> tuple[Scorer, ...]:
    """Those asked for. Raises `NegError` in words where one's files are not here, or are refused."""
    return tuple(_SCORERS[name](asking, session_path) for name in asking.scorers)


def reader(scorers: Sequence[Scorer]) -> Callable[[Path, str], Values]:
    """Measures a picture (its file, its prompt) when called. Scorers are loaded at the first one and kept."""
    loads = [(scorer, functools.cache(scorer.load)) for scorer in scorers]

    def read(path: Path, prompt: str) -> Values:
        found: Values = {}
        for scorer, load in loads:
            found |= _rounded(load()([open_rgb(path)], [prompt])[0], scorer, path)
        return found

    return read


def measure(context: JobContext, subjects: Sequence[Subject], scorers: Sequence[Scorer], cache_path: Path) -> dict[str, Values]:
    """All figures of every picture, by the picture's sha256; only what `cache_path` lacks is measured.

    Raises `NegError` `corrupt` where a scorer gives a figure that is not finite, and what loading a scorer raises.
    """
    known = {(line.picture_sha256, line.scorer): line.values for line in _read_lines(cache_path)}
    for scorer in scorers:
        missing = {one.sha256: one for one in subjects if (one.sha256, scorer.version) not in known}
        for line in _measure_missing(context, list(missing.values()), scorer, cache_path):
            known[line.picture_sha256, line.scorer] = line.values
    return {
        one.sha256: {name: value for scorer in scorers for name, value in known[one.sha256, scorer.version].items()} for one in subjects
    }


def _measure_missing(context: JobContext, missing: Sequence[Subject], scorer: Scorer, cache_path: Path) -> list[MeasureLine]:
    if not missing:
        return []
    context.check()
    scorer_measure = scorer.load()
    lines: list[MeasureLine] = []
    for begin in range(0, len(missing), BATCH_SIZE):
        context.check()
        batch = missing[begin : begin + BATCH_SIZE]
        found = scorer_measure([open_rgb(one.path) for one in batch], [one.prompt for one in batch])
        new = [
            MeasureLine(picture_sha256=one.sha256, scorer=scorer.version, values=_rounded(values, scorer, one.path))
            for one, values in zip(batch, found, strict=True)
        ]
        append_line(cache_path, b"\n".join(msgspec.json.encode(line) for line in new), durable=False)
        lines += new
        context.tell(
            StepProgress(
                job_id=context.job_id, phase="measure", step=len(lines), num_steps=len(missing), label=f"measuring ({scorer.name})"
            )
        )
    return lines


def _measure_plainly(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Values]:
    return [metrics.measure(image) for image in images]


PLAIN = Scorer("plain", metrics.VERSION, lambda: _measure_plainly)
"""Statistics of the pixels, which take no model."""


def _toy_probe(asking: Asking, session_path: Path) -> Scorer:
    path = toy.PROBE_PATH / "probe.safetensors"
    if not path.is_file():
        raise NegError("not_found", f"The toy's probe is not installed: {path} is missing.", "Remove `toy-probe` from comparison.scorers.")

    def load() -> Measure:
        from daemon.measuring.scorers.toy_probe import load_probe

        return load_probe(path.parent)

    return Scorer("toy-probe", f"toy-probe-1:{files.sha256_file(path)[:16]}", load)


def _of_files(name: str, asking: Asking, session_path: Path) -> Scorer:
    """A scorer of the user's files; its version follows them."""
    found = find_scorer_files(name, asking.scorer_paths, session_path)
    sha256s = remembered_sha256s(found.decisive, session_path / "cache")
    module, load = _LOADERS[name]

    def load_scorer() -> Measure:
        scorer: Measure = getattr(importlib.import_module(module), load)(found.folder)
        return scorer

    return Scorer(name, f"{name}-1:{canonical_sha256(sha256s)[:16]}", load_scorer)


_ROOM = "daemon.measuring.scorers"
_LOADERS = {
    "clip-score": (f"{_ROOM}.clip", "load_clip_score"),
    "pickscore": (f"{_ROOM}.clip", "load_pickscore"),
    "hpsv2.1": (f"{_ROOM}.hpsv2", "load_hpsv2"),
    "imagereward": (f"{_ROOM}.imagereward", "load_imagereward"),
    "aesthetic": (f"{_ROOM}.aesthetic", "load_aesthetic"),
}
"""Modules that import torch, and what in them loads a scorer from its folder."""
_SCORERS: dict[str, Callable[[Asking, Path], Scorer]] = {
    "toy-probe": _toy_probe,
    **{name: functools.partial(_of_files, name) for name in _LOADERS},
}


def _rounded(values: Values, scorer: Scorer, path: Path) -> Values:
    """To six digits: a network's last ones depend on how pictures were batched, and equal reruns must give equal intervals."""
    for name, value in values.items():
        if not math.isfinite(value):
            message = f"The scorer {scorer.name} says that {name} is {value} in {path.name}."
            raise NegError("corrupt", message, "Get its files again, or remove it from the scorers.")
    return {name: float(f"{value:.6g}") if abs(value) >= 1e-6 else 0.0 for name, value in values.items()}


def _read_lines(path: Path) -> list[MeasureLine]:
    lines = []
    for raw in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            lines.append(_line_decoder.decode(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return lines


_line_decoder = msgspec.json.Decoder(MeasureLine)
