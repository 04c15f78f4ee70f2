"""Where the intervals of a forest plot lie on their axis, in percent of its width. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from daemon.protocol.effects import Effect

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
    """An axis that intervals share. It always holds `middle`, the value that means no difference."""

    left: float
    right: float
    ticks: tuple[Tick, ...]
    middle: float = 0.0

    def position(self, value: float) -> float:
        """A difference -> percent from the left."""
        return round(100 * (value - self.left) / (self.right - self.left), 2)

    @property
    def none(self) -> float:
        """Where no difference lies."""
        return self.position(self.middle)


SHARES = Axis(0.0, 1.0, tuple(Tick(percent, f"{percent:g} %") for percent in (0.0, 25.0, 50.0, 75.0, 100.0)), 0.5)
"""Of shares of votes."""


def find_axis(effects: Sequence[Effect]) -> Axis:
    """An axis for the effects of one metric."""
    return axis_of([value for effect in effects for value in (effect.low, effect.difference, effect.high)])


def axis_of(values: Sequence[float]) -> Axis:
    """An axis with round ticks that holds zero and every value."""
    left, right = min(0.0, *values), max(0.0, *values)
    span = right - left if right - left > LEAST_SPAN else 1.0
    left, right = left - MARGIN * span, right + MARGIN * span
    step = round_step((right - left) / MAX_TICKS)
    marks = [number * step for number in range(math.ceil(left / step), math.floor(right / step) + 1)]
    axis = Axis(left, right, ())
    return Axis(left, right, tuple(Tick(axis.position(mark), f"{mark:.6g}".replace("-", "\N{MINUS SIGN}")) for mark in marks))


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
