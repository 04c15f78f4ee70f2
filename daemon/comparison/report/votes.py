"""The axis of the arms' strengths: what the votes do not bound ends at its edge."""

from __future__ import annotations

from daemon.comparison.report.forest import Axis, axis_of
from daemon.protocol.voting import VoteResults


def strength_axis(votes: VoteResults) -> Axis:
    """An axis in log odds for every bound that there is, and zero, which is the baseline."""
    bounds = [bound for one in votes.strengths for bound in (one.low, one.value, one.high) if bound is not None]
    return axis_of(bounds or [0.0])
