"""A real sweep on an engine and a scorer that need no torch: heavier adapters paint bluer pictures, and blue is the flaw.

For workers too: `NEGTUI_ENGINE=tests.fake_sweep:create_engine NEGTUI_RECIPES=tests.fake_sweep:RECIPES`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from daemon.comparison.sweep.recipe import sweep
from daemon.engine.base import OnBlockStep
from daemon.measuring import measures
from daemon.measuring.measures import Measure, Scorer
from daemon.measuring.metrics import Values
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.events import DurableEvent
from daemon.protocol.specs import ImageRequest, ModelSpec, SweepJob
from daemon.recipe import JobContext
from tests.unit.daemon.painting import FakeEngine

PICTURE_SECONDS = 0.01


@dataclass
class BrightEngine(FakeEngine):
    """The blue of a picture is a tenth of the adapter's weight, and a little noise by the request's hash."""

    seconds: float = 0.0

    def paint_block(
        self, model: ModelSpec, requests: Sequence[ImageRequest], on_step: OnBlockStep | None = None
    ) -> Iterator[tuple[int, Image.Image]]:
        for number, _ in super().paint_block(model, requests, on_step):
            time.sleep(self.seconds)
            yield number, bright(requests[number])


def bright(request: ImageRequest) -> Image.Image:
    """See `BrightEngine`."""
    noise = int(canonical_sha256(request)[:4], 16) / 0xFFFF
    weight = request.adapters[0].weight if request.adapters else 0.0
    blue = round(255 * (0.1 * weight + 0.1 * noise))
    return Image.fromarray(np.full((request.height, request.width, 3), (10, 20, blue), np.uint8))


def create_engine(cache_path: Path) -> BrightEngine:
    return BrightEngine(seconds=PICTURE_SECONDS)


def blueness(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Values]:
    return [{"flaw_probability": float(np.asarray(image)[..., 2].mean() / 255)} for image in images]


def sweep_blues(job: SweepJob, context: JobContext) -> Iterator[DurableEvent]:
    """`sweep`, measured by `blueness`."""

    def load() -> Measure:
        return blueness

    measures._SCORERS["toy-probe"] = lambda comparison, session_path: Scorer("toy-probe", "blueness-1", load)
    yield from sweep(job, context)


RECIPES = {"sweep": sweep_blues}
