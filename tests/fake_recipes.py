"""Recipes without an engine, for tests of queue, worker and front: `NEGTUI_RECIPES=tests.fake_recipes:RECIPES`.

`job(session, ...)` makes the spec of a synthesize job whose negative prompt tells the fake recipe what to do. It yields `num_images`
`ImageSaved` events, each with a tiny file `dataset/<id>.png`, and appends a line to `cache/computed` for each picture it computed
(not for those it found done), so that work done twice can be counted.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon import files
from daemon.protocol.errors import NegError
from daemon.protocol.events import DurableEvent, ImageSaved, StepProgress
from daemon.protocol.specs import ImageRecord, ImageRequest, ModelSpec, SynthesisSpec, SynthesizeJob
from daemon.recipe import JobContext


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


def job(session: str = "fake", **settings: Any) -> SynthesizeJob:
    """Settings, all optional:

    `num_images` (3), `steps` (2 for each image), `step_seconds` (0.0).
    `kill_at`: image index at which the worker kills itself by SIGKILL, the first `kill_times` (1) times.
    `raises` at image `raises_at` (0): `neg`, `plain`, `oom`, `cuda`.
    `full_file`: while this file of the session exists, the disk is full at image `full_at` (0).
    `hang_at`: image index at which it sleeps for an hour, the first `hang_times` (1) times, a line in `cache/hangs` each.
    `garbage_at`: image index at which it writes nonsense to its line, once.
    """
    return SynthesizeJob(
        session=session,
        model=ModelSpec(base="toy"),
        synthesis=SynthesisSpec(keywords=("fake",), negative_prompt=json.dumps(settings, sort_keys=True)),
    )


def synthesize(spec: SynthesizeJob, context: JobContext) -> Iterator[DurableEvent]:
    settings = json.loads(spec.synthesis.negative_prompt or "{}")
    num_images = settings.get("num_images", 3)
    for index in range(num_images):
        _trouble(settings, index, context.session_path)
        record = _record(spec, index)
        path = context.session_path / record.path
        reused = path.exists()
        if not reused:
            _steps(settings, index, num_images, context)
            files.write_atomic(path, _pixels(spec, index))
            _count(context.session_path, record.id)
        context.check()
        yield ImageSaved(job_id=context.job_id, session=context.session, image=record, index=index, num_images=num_images, reused=reused)


RECIPES = {"synthesize": synthesize}


def computed(session_path: Path) -> list[str]:
    """Ids of the pictures computed so far, in order, repeated where one was computed again."""
    path = session_path / "cache" / "computed"
    return path.read_text().split() if path.exists() else []


def _steps(settings: dict[str, Any], index: int, num_images: int, context: JobContext) -> None:
    num_steps = settings.get("steps", 2)
    for step in range(1, num_steps + 1):
        context.check()
        time.sleep(settings.get("step_seconds", 0.0))
        context.tell(
            StepProgress(
                job_id=context.job_id, phase="synthesise", step=step, num_steps=num_steps, image_index=index, num_images=num_images
            )
        )


def _trouble(settings: dict[str, Any], index: int, session_path: Path) -> None:
    if settings.get("kill_at") == index and _times(session_path, "kills") < settings.get("kill_times", 1):
        _note(session_path, "kills")
        os.kill(os.getpid(), signal.SIGKILL)
    if settings.get("raises_at", 0) == index and "raises" in settings:
        raise {
            "neg": NegError("incompatible", "The fake model does not fit.", "Take another."),
            "plain": ValueError("fake trouble\nwith a second line"),
            "oom": OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            "cuda": RuntimeError("CUDA error: device-side assert triggered"),
        }[settings["raises"]]
    full_file = settings.get("full_file")
    if full_file and settings.get("full_at", 0) == index and (session_path / full_file).exists():
        raise OSError(errno.ENOSPC, "No space left on device")
    if settings.get("hang_at") == index and _times(session_path, "hangs") < settings.get("hang_times", 1):
        _note(session_path, "hangs")
        time.sleep(3600)
    if settings.get("garbage_at") == index and _times(session_path, "garbage") == 0:
        _note(session_path, "garbage")
        os.write(int(sys.argv[sys.argv.index("--fd") + 1]), b"\xff" * 64)
        time.sleep(3600)


def _record(spec: SynthesizeJob, index: int) -> ImageRecord:
    content = _pixels(spec, index)
    image_id = hashlib.sha256(content).hexdigest()[:32]
    request = ImageRequest(
        base_sha256="fake", torch_dtype="float32", prompt=f"fake {index}", seed=index, guidance_scale=8.0, num_inference_steps=2,
        width=64, height=64,
    )  # fmt: skip
    return ImageRecord(id=image_id, path=f"dataset/{image_id}.png", sha256=hashlib.sha256(content).hexdigest(), request=request)


def _pixels(spec: SynthesizeJob, index: int) -> bytes:
    return f"{spec.session} {index}".encode() * 20


def _count(session_path: Path, id: str) -> None:
    _append(session_path / "cache" / "computed", f"{id}\n")


def _note(session_path: Path, what: str) -> None:
    _append(session_path / "cache" / what, "x\n")


def _times(session_path: Path, what: str) -> int:
    path = session_path / "cache" / what
    return len(path.read_text().splitlines()) if path.exists() else 0


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
