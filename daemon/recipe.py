"""A job is a generator of events: `recipe(spec, context)` yields what became durable, and may be stopped at any step.

A recipe is idempotent: run again on the same folder it tells again what it finds done and computes only what is missing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from daemon.engine.base import Engine
from daemon.protocol.events import DurableEvent, EphemeralEvent
from daemon.protocol.orders import Order

Recipe = Callable[[Any, "JobContext"], Iterator[DurableEvent]]
How = Literal["cancel", "pause"]


class Interrupted(Exception):
    """The person (or the daemon) asked the job to stop at this step boundary."""

    def __init__(self, how: How) -> None:
        super().__init__(how)
        self.how: How = how


@dataclass
class JobContext:
    """What a recipe may use: the engine, its session folder, and how to tell where it is.

    `tell` sends an ephemeral event. `asked` says whether to stop. `previews_wanted` says whether anybody watches.
    `orders` gives the orders that came since it was last called, oldest first and each kind once, and forgets them.
    `cache_path` is where the engine keeps what can be computed again, for a process that makes another engine like it.
    """

    job_id: str
    session: str
    session_path: Path
    engine: Engine
    tell: Callable[[EphemeralEvent], None] = lambda event: None
    asked: Callable[[], How | None] = lambda: None
    previews_wanted: Callable[[], bool] = lambda: False
    orders: Callable[[], tuple[Order, ...]] = lambda: ()
    cache_path: Path | None = None
    timings: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `Interrupted` if the job was asked to stop; recipes call this at every step."""
        how = self.asked()
        if how is not None:
            raise Interrupted(how)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the seconds spent inside to `timings[name]`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - begun
