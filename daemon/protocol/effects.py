"""What a comparison found, as events, answers and files tell it: paired differences, and claims judged by them."""

from __future__ import annotations

from typing import Literal

import msgspec


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """A paired difference between two arms on one metric: mean over blocks with a bootstrap interval."""

    metric: str
    arm: str
    against: str
    mean: float
    """Mean of `arm` over blocks."""
    mean_against: float
    difference: float
    low: float
    high: float
    confidence: float
    num_blocks: int
    better: Literal["higher", "lower", "neither"] = "neither"
    """Which direction is good for this metric."""
    verdict: Literal["better", "worse", "different", "unclear"] = "unclear"


ClaimVerdict = Literal[
    "holds",
    "not beyond placebo",
    "not beyond contrast",
    "only contrast",
    "only contrast or saturation",
    "reversed",
    "unclear",
    "not measured",
]
"""`not beyond`: nothing clear is left against the placebo, or with contrast held. `only`: and most of the difference is gone."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One claim about what the negative adapter does (those of the original model card), and what the figures say of it.

    Each effect is of the same arm, the target; None where nothing measures it, or there is no such arm.
    """

    name: str
    """`saturation`, `texture`, `sharpness`, `artifacts`, `obedience`, ..."""
    statement: str
    """The claim in words."""
    metric: str = ""
    """What measures it; empty: nothing that was asked for."""
    claimed: Literal["higher", "lower"] = "higher"
    """The direction of the metric that the claim states."""
    against_baseline: Effect | None = None
    against_placebo: Effect | None = None
    held: Effect | None = None
    """`against_baseline` with what `held_metrics` names held: its `metric` is the one divided by contrast, or the same by regression."""
    held_metrics: tuple[str, ...] = ()
    verdict: ClaimVerdict
    reading: str = ""
    """Why that is the verdict, in a sentence."""
