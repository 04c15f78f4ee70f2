"""Size and direction of the guidance along one picture's way: curves by step, and where in the picture it acts. Pure numpy.

What each curve is, is said in `daemon.protocol.diagnosis.CURVES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from daemon.comparison.maps import Map
from daemon.engine.base import Prediction
from daemon.protocol.diagnosis import CURVES, ArmGuidance

if TYPE_CHECKING:
    from daemon.engine.base import Floats

Curve = tuple[float | None, ...]


def guidance_curves(predictions: Sequence[Prediction], baseline: Sequence[Prediction]) -> dict[str, Curve]:
    """Every curve that this way has a value of, a value a step. `baseline`: the way of the first arm from the same noise."""
    curves: dict[str, Curve] = {name: tuple(map(of_step, predictions)) for name, of_step in _OF_STEP.items()}
    if predictions is not baseline:
        others = {one.timestep: one for one in baseline}
        curves["cosine_guidance_baseline"] = tuple(_cosine_of_guidance(one, others.get(one.timestep)) for one in predictions)
    return {name: curves[name] for name in CURVES if any(value is not None for value in curves.get(name, ()))}


def guidance_map(predictions: Sequence[Prediction]) -> Map:
    """(h, w): the length of P - N over channels, summed over the guided steps."""
    found: Map = np.zeros(predictions[0].positive.shape[1:])
    for one in predictions:
        if one.negative is not None:
            found += np.sqrt(((one.positive.astype(np.float64) - one.negative) ** 2).sum(axis=0))
    return found


def mean_guidance(ways: Sequence[ArmGuidance]) -> ArmGuidance:
    """The same arm's ways in several blocks as one: means by step; where a block has no value there is none."""
    first = ways[0]
    names = [name for name in first.curves if all(name in way.curves for way in ways)]
    curves = {name: tuple(_mean(values) for values in zip(*(way.curves[name] for way in ways), strict=True)) for name in names}
    return ArmGuidance(arm=first.arm, timesteps=first.timesteps, curves=curves)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _size(one: Floats | Map | None) -> float | None:
    """Root mean square; None where there is nothing."""
    return None if one is None else _told(float(np.sqrt((one.astype(np.float64) ** 2).mean())))


def _cosine(one: Floats | Map | None, other: Floats | Map | None) -> float | None:
    """None where one is not there, or has no direction."""
    if one is None or other is None:
        return None
    left, right = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    length = float(np.linalg.norm(left) * np.linalg.norm(right))
    return _told(min(1.0, max(-1.0, float(left @ right) / length))) if length else None


def _minus(one: Floats | None, other: Floats | None) -> Map | None:
    return None if one is None or other is None else one.astype(np.float64) - other


def _cosine_of_guidance(one: Prediction, other: Prediction | None) -> float | None:
    return None if other is None else _cosine(_minus(one.positive, one.negative), _minus(other.positive, other.negative))


def _told(value: float) -> float:
    """Six digits: the last ones depend on the machine."""
    return float(f"{value:.6g}")


_OF_STEP: dict[str, Callable[[Prediction], float | None]] = {
    "positive_norm": lambda one: _size(one.positive),
    "negative_norm": lambda one: _size(one.negative),
    "guidance_norm": lambda one: _size(_minus(one.positive, one.negative)),
    "cosine_positive_negative": lambda one: _cosine(one.positive, one.negative),
    "adapter_positive_norm": lambda one: _size(_minus(one.positive, one.plain_positive)),
    "adapter_negative_norm": lambda one: _size(_minus(one.negative, one.plain_negative)),
    "cosine_positive_plain": lambda one: _cosine(one.positive, one.plain_positive),
    "cosine_negative_plain": lambda one: _cosine(one.negative, one.plain_negative),
    "cosine_guidance_plain": lambda one: _cosine(_minus(one.positive, one.negative), _minus(one.plain_positive, one.plain_negative)),
}
