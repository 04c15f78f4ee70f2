"""The claims of the original model card, one by one: which figure speaks of each, and whether it holds. Pure.

A claim holds where the target differs from the baseline as claimed, from the placebo too, and still does with contrast held:

- sharpness and texture are divided by contrast, picture by picture: LAPV / var(luma) and deviation / std(luma) do not change at all
  when a picture's luma y becomes a y + b;
- of other figures, that part of the paired difference is taken off that goes with the differences in contrast (of quality: in
  contrast and saturation), see `stats.held_bootstrap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from daemon.comparison.effects import CellValues, find_effect, listed, signed_with_interval
from daemon.comparison.plan import Block
from daemon.comparison.stats import MIN_HELD_CLUSTERS
from daemon.measuring.metrics import METRICS, present
from daemon.protocol.effects import Claim, ClaimVerdict, Effect


class ClaimedArm(Protocol):
    """As much of an arm as tells what part it plays."""

    @property
    def name(self) -> str: ...
    @property
    def adapters(self) -> Sequence[object]: ...
    @property
    def embeddings(self) -> Sequence[object]: ...
    @property
    def negative_prompt(self) -> str | None: ...


@dataclass(frozen=True)
class Roles:
    """The arm that the claims are about, and those that it is held against."""

    target: str
    baseline: str
    placebo: str | None


@dataclass(frozen=True)
class Statement:
    """A claim before the figures. The first of `metrics` that was measured speaks of it, or each where `each` is set."""

    name: str
    words: str
    metrics: tuple[str, ...]
    claimed: Literal["higher", "lower"] = "higher"
    relative: str | None = None
    """The metric with contrast divided out."""
    held: tuple[str, ...] = ("contrast", "saturation")
    """What is held by regression where there is no `relative`."""
    each: bool = False


STATEMENTS = (
    Statement("saturation", "colours are more saturated", ("saturation",), held=("contrast",)),
    Statement("vibrance", "colours are more vivid", ("colourfulness",), held=("contrast",)),
    Statement("texture", "there is more texture", ("texture",), relative="relative_texture"),
    Statement("sharpness", "pictures are sharper", ("sharpness",), relative="relative_sharpness"),
    Statement("exposure", "lighting is better: less is too dark or too bright", ("exposure",), held=("contrast",)),
    Statement("artifacts", "there are fewer artifacts", ("flaw_probability",), "lower"),
    Statement("obedience", "the prompt is followed better", ("adherence", "clip_score")),
    Statement("preference", "people would prefer it, by a model of their choices", ("pickscore", "hpsv2_1", "imagereward"), each=True),
    Statement("beauty", "it is more beautiful, by a model of people's ratings", ("aesthetic",)),
)
OPTIONAL = ("preference", "beauty")
"""Not of the card: told only where they were measured."""


def find_roles(arms: Sequence[ClaimedArm]) -> Roles | None:
    """By their names where arms are called so, else: the last, the first, and the one with the target's words but nothing learned.

    None where there are not two arms.
    """
    if len(arms) < 2:
        return None
    by_name = {arm.name: arm for arm in arms}
    target = by_name.get("target", arms[-1])
    baseline = by_name.get("baseline", arms[0])
    if target is baseline:
        target = arms[-1] if baseline is not arms[-1] else arms[0]
    plain = [
        arm
        for arm in arms
        if arm is not target and arm is not baseline and not arm.adapters and not arm.embeddings and arm.negative_prompt is not None
    ]
    same_words = [arm for arm in plain if arm.negative_prompt == target.negative_prompt]
    placebo = next((arm for arm in (*same_words, *plain) if arm.name == "placebo"), same_words[0] if same_words else None)
    return Roles(target.name, baseline.name, placebo.name if placebo is not None else None)


def find_claims(blocks: Sequence[Block], roles: Roles | None, values: CellValues) -> tuple[Claim, ...]:
    """A row a claim, in the order of `STATEMENTS`; empty where there is nothing to compare."""
    if roles is None:
        return ()
    measured = present(values.values())
    claims = []
    for statement in STATEMENTS:
        metrics = [name for name in statement.metrics if name in measured]
        for metric in metrics if statement.each else metrics[:1]:
            claims.append(_claim(statement, metric, blocks, roles, values))
        if not metrics and statement.name not in OPTIONAL:
            claims.append(_not_measured(statement))
    return tuple(claims)


def _claim(statement: Statement, metric: str, blocks: Sequence[Block], roles: Roles, values: CellValues) -> Claim:
    raw = find_effect(metric, roles.target, roles.baseline, blocks, values)
    if raw is None:
        return _not_measured(statement)
    placebo = find_effect(metric, roles.target, roles.placebo, blocks, values) if roles.placebo is not None else None
    held: Effect | None = None
    if statement.relative is not None:
        held = find_effect(statement.relative, roles.target, roles.baseline, blocks, values)
    elif _num_clusters(blocks) >= MIN_HELD_CLUSTERS:
        held = find_effect(metric, roles.target, roles.baseline, blocks, values, statement.held)
    held_metrics = ("contrast",) if statement.relative is not None else statement.held
    verdict, reading = judge(statement.claimed, raw, placebo, held, held_metrics)
    return Claim(
        name=statement.name,
        statement=statement.words,
        metric=metric,
        claimed=statement.claimed,
        against_baseline=raw,
        against_placebo=placebo,
        held=held,
        held_metrics=held_metrics,
        verdict=verdict,
        reading=reading,
    )


def judge(
    claimed: Literal["higher", "lower"], raw: Effect, placebo: Effect | None, held: Effect | None, held_metrics: Sequence[str]
) -> tuple[ClaimVerdict, str]:
    """The verdict and why: first whether there is a difference, then whether contrast explains it, then whether the word alone does."""
    if raw.verdict == "unclear":
        holds_zero = raw.low <= 0 <= raw.high
        return "unclear", f"No clear difference from {raw.against}." if holds_zero else "Too few prompts for a verdict."
    if not _is_so(raw, claimed):
        return "reversed", f"It is the other way round against {raw.against}."
    if held is not None and not _is_so(held, claimed):
        return _without_contrast(raw, held, held_metrics)
    if placebo is not None and not _is_so(placebo, claimed):
        return "not beyond placebo", f"Against {placebo.against}, which has the words without the adapter, it does not hold."
    others = raw.against if placebo is None else f"{raw.against} and {placebo.against}"
    kept = f", also with {listed(held_metrics)} held" if held is not None else f"; too few prompts to hold {listed(held_metrics)}"
    return "holds", f"Against {others}{kept}."


def _without_contrast(raw: Effect, held: Effect, held_metrics: Sequence[str]) -> tuple[ClaimVerdict, str]:
    """A difference of which nothing clear is left. It was only contrast where less than half of it is left, as a share of the mean."""
    left = f"With {listed(held_metrics)} held, {signed_with_interval(held)} of {held.metric} is left"
    if held.verdict != "unclear" or abs(_share(held)) < abs(_share(raw)) / 2:
        return ("only contrast or saturation" if "saturation" in held_metrics else "only contrast"), f"{left}."
    return "not beyond contrast", f"{left}: they cannot be told apart."


def _share(effect: Effect) -> float:
    return effect.difference / effect.mean_against if effect.mean_against else effect.difference


def _is_so(effect: Effect, claimed: str) -> bool:
    return effect.verdict != "unclear" and (effect.difference > 0) == (claimed == "higher")


def _num_clusters(blocks: Sequence[Block]) -> int:
    """Prompts; of an only prompt, its blocks."""
    num_prompts = len({block.prompt for block in blocks})
    return num_prompts if num_prompts > 1 else len(blocks)


def _not_measured(statement: Statement) -> Claim:
    metric = statement.metrics[0]
    wanted = ", ".join(METRICS[name].scorer for name in statement.metrics if METRICS[name].scorer)
    return Claim(
        name=statement.name,
        statement=statement.words,
        claimed=statement.claimed,
        verdict="not measured",
        reading=f"Ask for a scorer that reads it (comparison.scorers): {wanted}." if wanted else f"No picture has {metric}.",
    )
