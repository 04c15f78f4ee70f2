"""A small comparison with a scorer that counts its calls. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from painting import MODEL
from PIL import Image

from daemon.comparison import measures
from daemon.comparison.measures import Measure, Scorer, Values
from daemon.files import write_atomic
from daemon.protocol.specs import CompareJob, ComparisonSpec, PromptSpec

ADAPTER = "adapters/wrong/pytorch_lora_weights.safetensors"


@dataclass
class CountingScorer:
    """Stands in for the toy's probe: the blue channel is the flaw. `num_measured` counts pictures, `num_loads` loads."""

    version: str = "counting-1"
    num_measured: int = 0
    num_loads: int = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> CountingScorer:
        monkeypatch.setitem(measures._SCORERS, "toy-probe", lambda comparison, session_path: Scorer("toy-probe", self.version, self.load))
        return self

    def load(self) -> Measure:
        self.num_loads += 1
        return self.measure

    def measure(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Values]:
        self.num_measured += len(images)
        blues = [float(np.asarray(image)[..., 2].mean() / 255) for image in images]
        return [{"flaw_probability": blue, "adherence": float("star" in prompt)} for blue, prompt in zip(blues, prompts, strict=True)]


def prepare(folder: Path) -> Path:
    """A session folder with a trained adapter."""
    write_atomic(folder / ADAPTER, b"trained weights")
    return folder


def job(num_prompts: int = 4, **changes: object) -> CompareJob:
    """The default three arms on a few prompts at 16 x 16 pixels."""
    prompts = tuple(
        PromptSpec(prompt=f"{'star' if number % 2 else 'square'} number {number}", seed=number) for number in range(num_prompts)
    )
    settings: dict[str, object] = {"prompts": prompts, "width": 16, "height": 16, "scorers": ("toy-probe",)}
    return CompareJob(session="mine", model=MODEL, comparison=ComparisonSpec(**settings | changes))
