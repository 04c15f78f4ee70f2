"""When is a worker hung? Pure: times are given, in seconds of a monotonic clock."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HangLimits:
    """Seconds of silence that are too many. A new phase may load gigabytes, hence `first_step_seconds`."""

    silence_seconds: float = 60.0
    first_step_seconds: float = 600.0
    step_seconds: float = 120.0
    """At least so long for a step; 20 medians where that is longer. Room for a refiner that is loaded again between two steps."""
    medians: float = 20.0


@dataclass
class HangWatch:
    """What a worker told of itself during one unit."""

    limits: HangLimits
    begun: float
    _heard: float = field(init=False)
    _stepped: float = field(init=False)
    _asked: float | None = None
    _num_steps: int | None = None
    _phase: str = ""
    _in_first_step: bool = True
    _durations: deque[float] = field(default_factory=lambda: deque(maxlen=64))

    def __post_init__(self) -> None:
        self._heard = self._stepped = self.begun

    def hear(self, now: float) -> None:
        """Any message is a sign of life."""
        self._heard = now

    def step(self, num_steps: int, phase: str, now: float) -> None:
        """`num_steps` counts up over the worker's life; only its changes mean progress."""
        self.hear(now)
        if phase != self._phase:
            self._phase, self._in_first_step, self._stepped = phase, True, now
        if self._num_steps is not None and num_steps > self._num_steps:
            if not self._in_first_step:
                self._durations.append((now - self._stepped) / (num_steps - self._num_steps))
            self._in_first_step, self._stepped = False, now
        self._num_steps = num_steps

    def ask(self, now: float) -> None:
        """It was asked to stop; twice the time of a step is enough for that."""
        self._asked = now if self._asked is None else self._asked

    def progress(self, now: float) -> None:
        """Something durable was told: progress, though not a step."""
        self._heard = self._stepped = now

    def forgive(self, now: float) -> None:
        """It was the front that did not listen."""
        self._heard = self._stepped = now
        self._asked = None if self._asked is None else now

    def silent(self, now: float) -> str | None:
        """That nothing at all was heard for too long, in words."""
        silence = now - self._heard
        return f"gave no sign of life for {silence:.0f} s" if silence > self.limits.silence_seconds else None

    def stuck(self, now: float) -> str | None:
        """That it lives and yet makes no step, in words."""
        waited, allowed = now - self._stepped, self._allowed()
        if self._asked is not None and now - self._asked > 2 * allowed:
            return f"did not stop within {now - self._asked:.0f} s of being asked"
        if waited <= allowed:
            return None
        return f"made no step for {waited:.0f} s in phase {self._phase or 'start'} ({allowed:.0f} s are allowed)"

    def _allowed(self) -> float:
        if self._in_first_step:
            return self.limits.first_step_seconds
        median = statistics.median(self._durations) if self._durations else 0.0
        return max(self.limits.step_seconds, self.limits.medians * median)
