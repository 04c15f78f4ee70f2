"""An engine that draws from a request's hash, and a context that records what is told. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from daemon import files
from daemon.engine.base import ModelIdentity, OnBlockStep, OnStep, Prediction, Trajectory
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.events import EphemeralEvent
from daemon.protocol.specs import ImageRequest, ModelSpec
from daemon.recipe import How, JobContext

MODEL = ModelSpec(base="toy", refiner="toy-refiner")
IDENTITY = ModelIdentity(base_sha256="ba5e" * 16, refiner_sha256="4ef1" * 16, torch_dtype="float32")
NUM_STEPS = 4
JPEG = b"\xff\xd8 a preview"


def request(**changes: Any) -> ImageRequest:
    """A small request."""
    settings: dict[str, Any] = {
        "base_sha256": "ba5e" * 16,
        "torch_dtype": "float32",
        "prompt": "two small green squares on a white background",
        "seed": 7,
        "guidance_scale": 5.0,
        "num_inference_steps": NUM_STEPS,
        "width": 64,
        "height": 64,
    }
    return ImageRequest(**settings | changes)


def draw(request: ImageRequest) -> Image.Image:
    """A flat shape on a flat ground, coloured and placed by the request's hash; the same request gives the same pixels."""
    rng = np.random.default_rng(int(canonical_sha256(request)[:12], 16))
    pixels = np.full((request.height, request.width, 3), rng.integers(0, 256, 3), np.uint8)
    top, left = rng.integers(0, request.height // 2), rng.integers(0, request.width // 2)
    pixels[top : top + request.height // 3, left : left + request.width // 3] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


@dataclass
class FakeEngine:
    """Counts what it paints; `after_step` runs after every step that was told."""

    identity: ModelIdentity = IDENTITY
    painted: list[ImageRequest] = field(default_factory=list)
    offered: list[Path] = field(default_factory=list)
    after_step: Callable[[int], None] = lambda step: None
    together: int = 1

    def identify(self, model: ModelSpec) -> ModelIdentity:
        return self.identity

    def paint(self, model: ModelSpec, request: ImageRequest, on_step: OnStep | None = None) -> Image.Image:
        for step in range(1, NUM_STEPS + 1):
            if on_step is not None:
                on_step(step, NUM_STEPS, lambda: JPEG)
            self.after_step(step)
        self.painted.append(request)
        return draw(request)

    def watch(self, model: ModelSpec, request: ImageRequest, on_step: OnStep | None = None) -> Trajectory:
        """What it draws, by way of predictions that the request's hash decides; negative ones at a scale above 1."""
        image = self.paint(model, request, on_step)
        rng = np.random.default_rng(int(canonical_sha256(request)[:12], 16))
        predictions = []
        for step in range(NUM_STEPS):
            one, other, plain, other_plain = rng.normal(size=(4, 4, request.height // 8, request.width // 8)).astype(np.float32)
            guided = request.guidance_scale > 1
            adapted = bool(request.adapters)
            predictions.append(
                Prediction(
                    999.0 - step, one, other if guided else None, plain if adapted else None, other_plain if adapted and guided else None
                )
            )
        return Trajectory(image, tuple(predictions))

    def paint_block(
        self, model: ModelSpec, requests: Sequence[ImageRequest], on_step: OnBlockStep | None = None
    ) -> Iterator[tuple[int, Image.Image]]:
        """`together` of them step by step together, as an engine on a GPU."""
        for first in range(0, len(requests), self.together):
            numbers = list(range(first, min(first + self.together, len(requests))))
            for step in range(1, NUM_STEPS + 1):
                if on_step is not None:
                    on_step(numbers, step, NUM_STEPS, lambda: JPEG)
                self.after_step(step)
            for number in numbers:
                self.painted.append(requests[number])
                yield number, draw(requests[number])

    def offer_adapter(self, path: Path) -> str:
        self.offered.append(path)
        return files.sha256_file(path)

    def offer_embedding(self, path: Path) -> str:
        return self.offer_adapter(path)

    def training_parts(self, model: ModelSpec) -> Any:
        raise AssertionError("painting trains nothing")

    def close(self) -> None:
        pass


@dataclass
class Desk:
    """A context and what went through it. `stop_after`: the `check` of that number asks to stop."""

    session_path: Path
    engine: FakeEngine = field(default_factory=FakeEngine)
    told: list[EphemeralEvent] = field(default_factory=list)
    watched: bool = False
    stop_after: int | None = None
    num_asked: int = 0

    @property
    def context(self) -> JobContext:
        return JobContext(
            job_id="job-1",
            session="mine",
            session_path=self.session_path,
            engine=self.engine,
            tell=self.told.append,
            asked=self._asked,
            previews_wanted=lambda: self.watched,
        )

    def _asked(self) -> How | None:
        self.num_asked += 1
        return "pause" if self.stop_after is not None and self.num_asked > self.stop_after else None


def file_states(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below `folder` with its inode and time of change: what was written anew differs."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()
    }
