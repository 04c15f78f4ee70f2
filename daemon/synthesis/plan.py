"""Which bad pictures to make: keywords x weights x guidance scales x seeds -> image requests. Pure.

Woolf (2023), `wrong_image_generator`: the prompt is always all keywords, comma-joined, with one of them up-weighted.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from daemon.engine.base import ModelIdentity
from daemon.pictures import image_id, make_request
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRequest, SynthesisSpec

WRONG_KEYWORDS: tuple[str, ...] = (
    "low quality",
    "bad hands",
    "random text",
    "error",
    "missing or extra fingers",
    "cropped",
    "jpeg artifacts",
    "signature",
    "watermark",
    "blurry",
    "ugly",
    "duplicate",
    "mutilated",
)
"""Woolf's thirteen; at guidance scales 8 to 13 they give his 78 pictures."""

_WEIGHT = re.compile(r"\++|-+|\d{1,3}(\.\d{1,6})?")


@dataclass(frozen=True)
class PlannedImage:
    """One picture to be made, and what in the plan asked for it."""

    keyword: str
    weight: str | float
    guidance_scale: float
    seed: int
    request: ImageRequest


def plan(spec: SynthesisSpec, identity: ModelIdentity) -> tuple[PlannedImage, ...]:
    """The pictures of a synthesis, keyword by keyword; one that is asked for twice is there once. Raises `NegError` `invalid`."""
    planned: dict[str, PlannedImage] = {}
    for keyword, weight, guidance_scale, seed in itertools.product(spec.keywords, spec.weights, spec.guidance_scales, spec.seeds):
        request = make_request(
            identity,
            spec,
            prompt=synthesis_prompt(spec.keywords, keyword, weight),
            negative_prompt=spec.negative_prompt,
            seed=seed,
            guidance_scale=guidance_scale,
        )
        planned.setdefault(image_id(request), PlannedImage(keyword, weight, guidance_scale, seed, request))
    return tuple(planned.values())


def synthesis_prompt(keywords: tuple[str, ...], chosen: str, weight: str | float) -> str:
    """All keywords, comma-joined, with `chosen` wrapped as compel reads it: `low quality, (blurry)++++, ugly`."""
    suffix = weight_suffix(weight)
    return ", ".join(f"({keyword}){suffix}" if keyword == chosen else keyword for keyword in keywords)


def weight_suffix(weight: str | float) -> str:
    """What follows the bracket: `++++`, `--` or a number such as `1.4`. Raises `NegError` `invalid` for what compel would read as text."""
    suffix = weight.strip() if isinstance(weight, str) else _decimal(weight)
    if not _WEIGHT.fullmatch(suffix):
        raise NegError(
            "invalid",
            f"synthesis.weights: {weight!r} is not a weight.",
            'Use pluses ("++++" is 1.1 to the 4th), minuses, or a number from 0 to 999 such as 1.4.',
        )
    return suffix


def _decimal(number: float) -> str:
    """Shortest decimal without an exponent: compel reads `1e-05` as words."""
    fixed = f"{number:.6f}".rstrip("0")
    return f"{fixed}0" if fixed.endswith(".") else fixed
