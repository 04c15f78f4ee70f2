"""What a synthesis would take: pictures, bytes, seconds. From what earlier pictures took here, not from tables."""

from __future__ import annotations

import re
import shutil
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from daemon.protocol.commands import Plan
from daemon.protocol.events import ImageSaved
from daemon.protocol.specs import ImageRecord, ImageRequest, SynthesisSpec

PNG_BYTES_PER_PIXEL = 2
"""A PNG of a photo-like picture with its thumbnails, where there is none to measure."""
THUMBNAILS = ".thumbnails/*/"
MAX_MEASURED_FILES = 32
_WEIGHT = re.compile(r"[-+.0-9]*")


class Painted(NamedTuple):
    """A picture that was painted, and the seconds since the one before it was done."""

    request: ImageRequest
    seconds: float


def paces(told: Iterable[tuple[float, ImageSaved]]) -> list[Painted]:
    """The painted pictures of one job, from its events (Unix time, event) in order. The first one is left out: it loaded the model."""
    painted: list[Painted] = []
    before: float | None = None
    for at, event in told:
        if not event.reused and before is not None and at > before:
            painted.append(Painted(event.image.request, at - before))
        before = at
    return painted


def plan(spec: SynthesisSpec, folder: Path, records: Sequence[ImageRecord], painted: Sequence[Painted]) -> Plan:
    """The plan of a synthesis into the session `folder`. `records`: its pictures; `painted`: by the same model, newest last."""
    wanted = len(spec.keywords) * len(spec.weights) * len(spec.guidance_scales) * len(spec.seeds)
    base = painted[-1].request.base_sha256 if painted else None
    present = {
        (record.keyword, record.weight, record.request.guidance_scale, record.request.seed)
        for record in records
        if is_of(record, spec) and base in (None, record.request.base_sha256)
    }
    missing = wanted - len(present)
    pace, num_measured = _pace(spec, painted)
    return Plan(
        num_images=wanted,
        num_present=len(present),
        num_bytes=missing * _bytes_each(spec, folder, records),
        free_bytes=shutil.disk_usage(folder).free,
        seconds=None if pace is None else missing * pace,
        seconds_per_image=pace,
        num_measured=num_measured,
    )


def is_of(record: ImageRecord, spec: SynthesisSpec) -> bool:
    """Whether a picture is one that `spec` asks for, as far as its settings tell; of the model nothing is known here."""
    request = record.request
    if record.keyword not in spec.keywords or record.weight not in spec.weights or record.arm is not None:
        return False
    if request.guidance_scale not in spec.guidance_scales or request.seed not in spec.seeds:
        return False
    asked = (spec.negative_prompt, spec.num_inference_steps, spec.width, spec.height)
    split_fits = request.denoising_split in (None, spec.denoising_split)
    painted_as = (request.negative_prompt, request.num_inference_steps, request.width, request.height)
    return painted_as == asked and split_fits and _is_prompt(request.prompt, spec.keywords, record.keyword or "")


def _is_prompt(prompt: str, keywords: Sequence[str], chosen: str) -> bool:
    """Whether a prompt is all keywords, comma-joined, the chosen one in brackets with some weight."""
    before, _, after = ", ".join(f"({one})\0" if one == chosen else one for one in keywords).partition("\0")
    middle = prompt[len(before) : len(prompt) - len(after)]
    return prompt == before + middle + after and _WEIGHT.fullmatch(middle) is not None


def _pace(spec: SynthesisSpec, painted: Sequence[Painted]) -> tuple[float | None, int]:
    """(seconds a picture, pictures measured): of the same size and steps, else of others, by pixels and steps."""

    def work(request: ImageRequest | SynthesisSpec) -> int:
        return request.width * request.height * request.num_inference_steps

    same = [one.seconds for one in painted if work(one.request) == work(spec) and one.request.width == spec.width]
    found = same or [one.seconds * work(spec) / work(one.request) for one in painted]
    return (statistics.median(found), len(found)) if found else (None, 0)


def _bytes_each(spec: SynthesisSpec, folder: Path, records: Sequence[ImageRecord]) -> int:
    """Of a picture of this size with its thumbnails: measured on those that are there, else about."""
    same = [record for record in records if (record.request.width, record.request.height) == (spec.width, spec.height)]
    sizes = [_size_of(folder, record) for record in same[-MAX_MEASURED_FILES:]]
    known = [size for size in sizes if size]
    return round(statistics.mean(known)) if known else spec.width * spec.height * PNG_BYTES_PER_PIXEL


def _size_of(folder: Path, record: ImageRecord) -> int:
    path = folder / record.path
    try:
        thumbnails = path.parent.glob(f"{THUMBNAILS}{path.stem}.webp")
        return path.stat().st_size + sum(one.stat().st_size for one in thumbnails)
    except OSError:
        return 0
