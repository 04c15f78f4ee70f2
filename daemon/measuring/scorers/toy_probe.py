"""The toy's probe as a scorer. Importing this imports torch: only `measures.py` does, when a picture is to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from daemon.measuring.metrics import Measure, Values
from daemon.toy.probe import Probe, Reading
from daemon.toy.scenes import parse


def load_probe(path: Path) -> Measure:
    """The probe's `flaw_probability` of every picture, and where the prompt names a scene `adherence`: 1 if all attributes are right."""
    probe = Probe.load(path)

    def measure(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Values]:
        readings = probe.read(list(images))
        return [_values(reading, prompt) for reading, prompt in zip(readings, prompts, strict=True)]

    return measure


def _values(reading: Reading, prompt: str) -> Values:
    values = {"flaw_probability": reading.flaw_probability}
    if parse(prompt) is not None:
        values["adherence"] = float(reading.agrees(prompt))
    return values
