"""What a comparison found, in lines: claims, the differences that matter, the guidance step by step. Pure: structs of the contract in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from daemon.protocol.diagnosis import CURVES, ArmGuidance, Diagnosis
from daemon.protocol.effects import Claim, Effect
from negtui.output import clean, quantity, table
from negtui.widgets.spark import spark

MAX_COLUMNS = 8
"""Up to so many arms, a table of means has an arm a column; beyond it, an arm a line."""
SPARK_WIDTH = 24


def claims_table(claims: Sequence[Claim], *, readings: bool = False) -> list[str]:
    """A line a claim: its differences from baseline and placebo with their intervals, and the verdict; `readings` tells why."""
    placebo = next((claim.against_placebo.against for claim in claims if claim.against_placebo is not None), "")
    baseline = next((claim.against_baseline.against for claim in claims if claim.against_baseline is not None), "baseline")
    headings = ["claim", "read in", f"- {baseline}", *([f"- {placebo}"] if placebo else []), "verdict"]
    rows = []
    for claim in claims:
        differences = [_difference(claim.against_baseline), *([_difference(claim.against_placebo)] if placebo else [])]
        rows.append((claim.name, claim.metric, *differences, claim.verdict))
    lines = table(headings, rows, indent="  ")
    if readings:
        lines += ["", *(f"  {claim.name}: {clean(claim.statement)}? {clean(claim.reading)}" for claim in claims)]
    return lines


def claim_verdicts(claims: Sequence[Claim]) -> list[str]:
    """A line a claim, and an empty one behind them; nothing where there are none."""
    lines = [clean(f"{claim.name:12.12} {claim.verdict}") for claim in claims]
    return [*lines, ""] if lines else []


def claim_lines(claims: Sequence[Claim]) -> list[str]:
    """As `claims_table`, for a narrow place: a claim with its verdict, a line a difference, and an empty one behind them."""
    lines = []
    for claim in claims:
        lines.append(f"{claim.name}: {claim.verdict}")
        effects = (claim.against_baseline, claim.against_placebo)
        lines += [f"  {claim.metric} - {effect.against}: {_difference(effect)}" for effect in effects if effect is not None]
        if claim.held is not None:
            lines.append(f"  with {' and '.join(claim.held_metrics)} held: {_difference(claim.held)}")
    return [*(clean(line) for line in lines), ""] if lines else []


def telling(effects: Sequence[Effect]) -> list[Effect]:
    """The differences that say something: all of quality, and what clearly changed in the look."""
    return [effect for effect in effects if effect.better != "neither" or effect.verdict != "unclear"]


def quality(effects: Sequence[Effect]) -> list[Effect]:
    """The differences in which one arm can be better."""
    return [effect for effect in effects if effect.better != "neither"]


def means_table(means: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Means by arm and metric; the longer of both goes down."""
    metrics = list(dict.fromkeys(metric for own in means.values() for metric in own))
    if len(means) <= MAX_COLUMNS:
        rows = [(metric, *(_figure(own, metric) for own in means.values())) for metric in metrics]
        return table(("mean of", *means), rows, indent="  ", right=frozenset(range(1, len(means) + 1)))
    rows = [(name, *(_figure(own, metric) for metric in metrics)) for name, own in means.items()]
    return table(("arm", *metrics), rows, indent="  ", right=frozenset(range(1, len(metrics) + 1)))


def diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    """Every curve of every arm as a spark from the first step to the last, with its ends; then the training's."""
    lines = [f"Guidance, step by step, over {quantity(len(diagnosis.blocks), 'block')}"]
    for name, words in CURVES.items():
        having = [arm for arm in diagnosis.arms if any(value is not None for value in arm.curves.get(name, ()))]
        if having:
            lines += ["", f"{name}: {words}", *_curve_lines(name, having)]
    for training in diagnosis.trainings:
        lines += ["", f"training of {clean(training.adapter)}, to step {training.steps[-1]}"]
        highest = max((*training.separation, *training.leak))
        for name, values in (("separation", training.separation), ("leak", training.leak)):
            lines.append(f"  {name:12.12} {_spark(values, 0.0, highest)} {values[0]:.3g} to {values[-1]:.3g}")
    return lines


def _curve_lines(name: str, arms: Sequence[ArmGuidance]) -> Iterator[str]:
    """All arms on one scale: sizes from 0, cosines from the least that there is to 1."""
    values = [value for arm in arms for value in arm.curves[name] if value is not None]
    low, high = (min(values), 1.0) if name.startswith("cosine") else (0.0, max(values))
    for arm in arms:
        known = [value for value in arm.curves[name] if value is not None]
        yield f"  {clean(arm.arm):12.12} {_spark(arm.curves[name], low, high)} {known[0]:.3g} to {known[-1]:.3g}"


def _spark(values: Sequence[float | None], low: float, high: float) -> str:
    """At most `SPARK_WIDTH` of them, evenly chosen, the last one among them."""
    number = min(SPARK_WIDTH, len(values))
    chosen = [values[round(place * (len(values) - 1) / max(1, number - 1))] for place in range(number)]
    return spark(chosen, SPARK_WIDTH, low, high)


def _difference(effect: Effect | None) -> str:
    if effect is None:
        return ""
    if not effect.confidence:
        return f"{effect.difference:+.3g}"
    return f"{effect.difference:+.3g} [{effect.low:+.3g}, {effect.high:+.3g}]"


def _figure(means: Mapping[str, float], metric: str) -> str:
    return f"{means[metric]:.4g}" if metric in means else ""
