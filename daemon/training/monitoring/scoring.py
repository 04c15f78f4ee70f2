"""What can read a model's sample pictures: the toy's probe for the toy, nothing for others. Imports torch when there is one to read."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from PIL import Image

from daemon import toy
from daemon.measuring.metrics import Measure, Values
from daemon.protocol.specs import ModelSpec


def find_score(model: ModelSpec) -> Measure | None:
    """The score of a model's pictures, or None where there is no judge that was made for them."""
    is_toy = model.base == "toy" and (toy.PROBE_PATH / "probe.safetensors").is_file()
    return _score_by_probe if is_toy else None


def _score_by_probe(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Values]:
    return _probe()(images, prompts)


@functools.cache
def _probe() -> Measure:
    from daemon.measuring.scorers.toy_probe import load_probe

    return load_probe(toy.PROBE_PATH)
