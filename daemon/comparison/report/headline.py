"""The one sentence above everything: does the target beat the placebo?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from daemon.comparison.claims import find_roles
from daemon.comparison.effects import in_figures
from daemon.comparison.findings import Findings
from daemon.judging.verdicts import percent
from daemon.protocol.effects import Effect

Tone = Literal["good", "bad", "open"]


@dataclass(frozen=True)
class Headline:
    """`tone` says how it is coloured; `details` give the figures, a line each."""

    text: str
    details: tuple[str, ...]
    tone: Tone


def find_headline(findings: Findings) -> Headline:
    """The target against the placebo, or where there is none against the baseline: what people preferred where that is clear, else
    every measure of quality."""
    roles = find_roles(findings.arms)
    if roles is None:
        return Headline("Only one arm was painted", ("There is nothing to compare it with.",), "open")
    target, other = roles.target, roles.placebo or roles.baseline
    against = f"the {other}" if other in ("placebo", "baseline") else other
    voted = _by_votes(findings, target, other, against)
    measured = _by_measures(findings, target, other, against)
    if voted is None:
        return measured
    told = (*voted.details, *measured.details)
    return replace(voted if voted.text else measured, details=told)


def _by_votes(findings: Findings, target: str, other: str, against: str) -> Headline | None:
    """None where nobody voted on these two; no text where the votes leave it open."""
    preferences = findings.votes.preferences if findings.votes is not None else ()
    one = next((one for one in preferences if (one.arm, one.against) == (target, other)), None)
    if one is None:
        return None
    interval = f" [{percent(one.low)}, {percent(one.high)}]" if one.confidence else ""
    num_votes = one.num_wins + one.num_losses + one.num_ties
    detail = (f"blind votes: preferred in {percent(one.win_rate)} of {num_votes}{interval}",)
    match one.verdict:
        case "better":
            return Headline(f"{target} beats {against}: people prefer it", detail, "good")
        case "worse":
            return Headline(f"{target} loses to {against}: people prefer the other", detail, "bad")
        case "same":
            return Headline(f"People see no difference between {target} and {against}", detail, "open")
        case _:
            return Headline("", detail, "open")


def _by_measures(findings: Findings, target: str, other: str, against: str) -> Headline:
    quality = [one for one in findings.effects if (one.arm, one.against) == (target, other) and one.better != "neither"]
    if not quality:
        detail = "No measure of quality was asked for (comparison.scorers): the figures below describe the look only."
        return Headline(f"Whether {target} beats {against} was not measured", (detail,), "open")
    tone: Tone = "open"
    better, worse = ([one for one in quality if one.verdict == verdict] for verdict in ("better", "worse"))
    if better and worse:
        text = f"{target} beats {against} on {_names(better)}, and does worse on {_names(worse)}"
    elif better:
        text, tone = f"{target} beats {against}", "good"
    elif worse:
        text, tone = f"{target} does worse than {against}", "bad"
    else:
        text = f"{target} does not clearly beat {against}"
    return Headline(text, tuple(_figures(one) for one in quality), tone)


def _names(effects: Sequence[Effect]) -> str:
    return " and ".join(effect.metric.replace("_", " ") for effect in effects)


def _figures(effect: Effect) -> str:
    return f"{effect.metric.replace('_', ' ')} {in_figures(effect)}"
