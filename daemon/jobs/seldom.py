"""When to say again what goes on: a log tells of a trouble once, then less and less often. Knows nothing of what is said."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_SECONDS = 60.0
LONGEST_SECONDS = 3600.0


class Seldom:
    """One trouble: due at once, then after 1, 2, 4, ... minutes, at most an hour; at once again when it was `over`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next, self._seconds = float("-inf"), FIRST_SECONDS

    def is_due(self) -> bool:
        """Whether to say it now; then the next interval begins."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._seconds
        self._seconds = min(2 * self._seconds, LONGEST_SECONDS)
        return True

    def over(self) -> None:
        """The trouble is gone: the next one is another."""
        self._next, self._seconds = float("-inf"), FIRST_SECONDS
