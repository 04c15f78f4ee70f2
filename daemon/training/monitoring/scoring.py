"""What can read a model's sample pictures: the toy's probe for the toy, nothing for others. Imports torch when there is one to read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from daemon import toy
from daemon.protocol.specs import ModelSpec

Score = Callable[[Sequence[Image.Image], Sequence[str]], list[dict[str, float]]]
"""Pictures and their prompts -> figures a picture by name: `flaw_probability`, and `adherence` (0 or 1) where the prompt names a scene."""


def find_score(model: ModelSpec) -> Score | None:
    """The score of a model's pictures, or None where there is no judge that was made for them."""
    is_toy = model.base == "toy" and (toy.PROBE_PATH / "probe.safetensors").is_file()
    return _score_by_probe if is_toy else None


def _score_by_probe(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[dict[str, float]]:
    from daemon.toy.scenes import parse

    found = []
    for reading, prompt in zip(_probe().read(list(images)), prompts, strict=True):
        values = {"flaw_probability": float(reading.flaw_probability)}
        found.append(values | ({"adherence": float(reading.agrees(prompt))} if parse(prompt) is not None else {}))
    return found


@functools.cache
def _probe() -> Any:
    from daemon.toy.probe import Probe

    return Probe.load()
