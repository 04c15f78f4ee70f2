"""A scorer that counts its calls. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from daemon.measuring import measures
from daemon.measuring.measures import Measure, Scorer, Values


@dataclass
class CountingScorer:
    """Stands in for the toy's probe: the blue channel is the flaw. `num_measured` counts pictures, `num_loads` loads."""

    version: str = "counting-1"
    num_measured: int = 0
    num_loads: int = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> CountingScorer:
        monkeypatch.setitem(measures._SCORERS, "toy-probe", lambda asking, session_path: Scorer("toy-probe", self.version, self.load))
        return self

    def load(self) -> Measure:
        self.num_loads += 1
        return self.measure

    def measure(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Values]:
        self.num_measured += len(images)
        blues = [float(np.asarray(image)[..., 2].mean() / 255) for image in images]
        return [{"flaw_probability": blue, "adherence": float("star" in prompt)} for blue, prompt in zip(blues, prompts, strict=True)]
