"""Which moves of a job are legal, and where an ended run leads. Pure."""

from __future__ import annotations

from typing import Literal

from daemon.protocol.errors import NegError
from daemon.protocol.events import State
from daemon.store.jobs import Wanted

Outcome = Literal["done", "paused", "cancelled", "failed"]

MOVES: dict[State, frozenset[State]] = {
    "queued": frozenset({"running", "paused", "blocked", "cancelled"}),
    "running": frozenset({"pausing", "queued", "paused", "blocked", "done", "failed", "cancelled"}),
    "pausing": frozenset({"running", "queued", "paused", "blocked", "done", "failed", "cancelled"}),
    "paused": frozenset({"queued", "blocked", "cancelled"}),
    "blocked": frozenset({"queued", "paused", "cancelled"}),
    "done": frozenset(),
    "failed": frozenset({"queued", "blocked"}),
    "cancelled": frozenset({"queued", "blocked"}),
}

AT_WORK: frozenset[State] = frozenset({"running", "pausing"})
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})
HOPELESS: frozenset[State] = frozenset({"failed", "cancelled"})
"""What a job waits for in vain, until a person resumes it."""


def require_move(old: State, new: State) -> None:
    """Raise `NegError` `wrong_state` unless a job may go from `old` to `new`. Staying is always legal."""
    if new != old and new not in MOVES[old]:
        raise NegError("wrong_state", f"A job that is {old} cannot become {new}.", "Submit it again." if old == "done" else "")


def after_stop(wanted: Wanted) -> State:
    """Where a run leads that ended before its work did: what the person wants, else back to the queue."""
    stops: dict[Wanted, State] = {"run": "queued", "pause": "paused", "cancel": "cancelled"}
    return stops[wanted]


def after_end(outcome: Outcome, wanted: Wanted) -> State:
    """Where a run's end leads. Work that was done is done, even if a stop was asked for at the last moment."""
    if outcome in ("done", "failed"):
        return outcome
    return after_stop(wanted)
