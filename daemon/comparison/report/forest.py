"""Where the intervals of a forest plot lie on their axis, in percent of its width. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from daemon.protocol.events import Effect

MARGIN = 0.06
MAX_TICKS = 5
LEAST_SPAN = 1e-9
"""What is narrower is drawn as a point: floats tell no ticks within."""


@dataclass(frozen=True)
class Tick:
    """A mark of the axis: where, and the figure there."""

    position: float
    label: str


@dataclass(frozen=True)
class Axis:
    """An axis that the effects of one metric share. It always holds zero, which is no difference."""

    left: float
    right: float
    ticks: tuple[Tick, ...]

    def position(self, value: float) -> float:
        """A difference -> percent from the left."""
        return round(100 * (value - self.left) / (self.right - self.left), 2)

    @property
    def zero(self) -> float:
        return self.position(0.0)


def find_axis(effects: Sequence[Effect]) -> Axis:
    """An axis with round ticks that holds zero and every interval."""
    left = min(0.0, *(min(effect.low, effect.difference) for effect in effects))
    right = max(0.0, *(max(effect.high, effect.difference) for effect in effects))
    span = right - left if right - left > LEAST_SPAN else 1.0
    left, right = left - MARGIN * span, right + MARGIN * span
    step = _round_step((right - left) / MAX_TICKS)
    values = [number * step for number in range(math.ceil(left / step), math.floor(right / step) + 1)]
    axis = Axis(left, right, ())
    return Axis(left, right, tuple(Tick(axis.position(value), f"{value:.6g}".replace("-", "\N{MINUS SIGN}")) for value in values))


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
