"""What the figures say: every arm against every earlier one on every metric, and a verdict in plain words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from daemon.comparison.plan import Block, prompt_clusters
from daemon.comparison.stats import MIN_HELD_CLUSTERS, Interval, held_bootstrap, paired_bootstrap
from daemon.measuring.metrics import METRICS, QUALITY, Values, present
from daemon.protocol.effects import Effect
from daemon.student import MIN_CLUSTERS

CellValues = Mapping[tuple[int, str], Values]
"""(block's index, arm's name) -> figures by metric name."""

MAX_ARMS_ALL_PAIRS = 8
MAX_ARMS_LAST_PAIRS = 16
"""Beyond the one, arms are compared with the first only, and the last one with every other; beyond the other, with the first only: the
event must stay small."""
LOOK = ("sharpness", "contrast", "saturation", "brightness", "diversity")
"""What the verdict tells of the look; the other figures are of the same kinds."""


def arm_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """(arm, against): the last arm first, each against every earlier one, the first arm (the baseline) foremost."""
    if len(names) > MAX_ARMS_ALL_PAIRS:
        last = [(names[-1], other) for other in names[1:-1]] if len(names) <= MAX_ARMS_LAST_PAIRS else []
        return [(names[-1], names[0]), *last, *((name, names[0]) for name in reversed(names[1:-1]))]
    return [(names[later], names[earlier]) for later in range(len(names) - 1, 0, -1) for earlier in range(later)]


def find_effects(blocks: Sequence[Block], names: Sequence[str], values: CellValues) -> tuple[Effect, ...]:
    """Paired differences with 95 % intervals, over the blocks in which both arms have the metric."""
    pairs = arm_pairs(names)
    effects = (find_effect(metric, arm, against, blocks, values) for metric in present(values.values()) for arm, against in pairs)
    return tuple(effect for effect in effects if effect is not None)


def find_effect(
    metric: str, arm: str, against: str, blocks: Sequence[Block], values: CellValues, held: Sequence[str] = ()
) -> Effect | None:
    """One paired difference; None where no block has the metric in both arms. Of `held` metrics, the difference where they are equal.

    `held` takes `MIN_HELD_CLUSTERS` prompts, or what is left of a difference cannot be told: it is `unclear` then.
    """
    wanted = (metric, *held)
    both = [block for block in blocks if all(name in values[block.index, one] for name in wanted for one in (arm, against))]
    if not both:
        return None
    differences = {name: [values[block.index, arm][name] - values[block.index, against][name] for block in both] for name in wanted}
    clusters = prompt_clusters(both)
    if held:
        interval, least = held_bootstrap(differences[metric], [differences[name] for name in held], clusters), MIN_HELD_CLUSTERS
    else:
        interval, least = paired_bootstrap(differences[metric], clusters), MIN_CLUSTERS
    return Effect(
        metric=metric,
        arm=arm,
        against=against,
        mean=sum(values[block.index, arm][metric] for block in both) / len(both),
        mean_against=sum(values[block.index, against][metric] for block in both) / len(both),
        difference=interval.mean,
        low=interval.low,
        high=interval.high,
        confidence=interval.confidence,
        num_blocks=len(both),
        better=METRICS[metric].better,
        verdict=_judge(interval, METRICS[metric].better, least),
    )


def arm_means(names: Sequence[str], values: CellValues) -> dict[str, dict[str, float]]:
    """Mean of every metric by arm."""
    means: dict[str, dict[str, float]] = {}
    for name in names:
        own = [found for (_, arm), found in values.items() if arm == name]
        columns = {metric: [found[metric] for found in own if metric in found] for metric in METRICS}
        means[name] = {metric: sum(column) / len(column) for metric, column in columns.items() if column}
    return means


def verdict_in_words(effects: Sequence[Effect], names: Sequence[str], num_prompts: int) -> str:
    """What the last arm (the target) did against the others: on quality where that was measured, and what changed in the look."""
    if len(names) < 2:
        return "There is one arm only: nothing to compare it with."
    target = names[-1]
    own = [effect for effect in effects if effect.arm == target]
    quality = [metric for metric in QUALITY if any(effect.metric == metric for effect in own)]
    sentences = [_quality_sentence([effect for effect in own if effect.metric == metric]) for metric in quality]
    if not quality:
        sentences.append("No measure of quality was asked for (comparison.scorers), so nothing here says which arm is better.")
    sentences.append(_look_sentence(own, names[0], any(effect.verdict == "better" for effect in own)))
    if effects and all(effect.confidence == 0 for effect in effects):
        sentences = ["One block only: a difference cannot be told from chance."]
    elif _num_clusters(num_prompts, effects) < MIN_CLUSTERS:
        sentences.insert(0, f"Too few blocks for a verdict: {_num_clusters(num_prompts, effects)}, at least {MIN_CLUSTERS} are needed.")
    return " ".join(sentence for sentence in sentences if sentence)


def figure(value: float) -> str:
    """A figure as people read it: three decimals, one beyond 10, four below a hundredth."""
    text = f"{value:.{1 if abs(value) >= 10 else 3 if abs(value) >= 0.01 else 4}f}"
    return text if text.strip("-0.") else "0.000"


def signed(value: float) -> str:
    """A difference, with its sign."""
    text = figure(value)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def signed_with_interval(effect: Effect) -> str:
    """The difference as `-0.060 [-0.079, -0.034]`; without brackets where there is no interval."""
    difference = signed(effect.difference)
    return f"{difference} [{signed(effect.low)}, {signed(effect.high)}]" if effect.confidence else difference


def in_figures(effect: Effect) -> str:
    """As `0.120 against 0.180, -0.060 [-0.079, -0.034]`."""
    return f"{figure(effect.mean)} against {figure(effect.mean_against)}, {signed_with_interval(effect)}"


def listed(parts: Sequence[str], conjunction: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {conjunction} {parts[-1]}"


def _judge(interval: Interval, better: str, least_clusters: int) -> Literal["better", "worse", "different", "unclear"]:
    if interval.confidence == 0 or interval.num_clusters < least_clusters or interval.low <= 0 <= interval.high:
        return "unclear"
    if better == "neither":
        return "different"
    return "better" if (interval.mean > 0) == (better == "higher") else "worse"


def _num_clusters(num_prompts: int, effects: Sequence[Effect]) -> int:
    return num_prompts if num_prompts > 1 else max((effect.num_blocks for effect in effects), default=0)


def _quality_sentence(effects: Sequence[Effect]) -> str:
    """As "On flaw_probability, target beats baseline (...); it is not clearly better or worse than placebo (...)."."""
    said = {"better": "beats", "worse": "does worse than", "unclear": "is not clearly better or worse than"}
    parts = []
    for verdict, verb in said.items():
        those = [effect for effect in effects if effect.verdict == verdict]
        if those:
            others = [f"{effect.against} ({in_figures(effect)})" for effect in those]
            parts.append(f"{verb} {listed(others, 'or' if verdict == 'unclear' else 'and')}")
    return f"On {effects[0].metric}, {effects[0].arm} {'; it '.join(parts)}."


def _look_sentence(own: Sequence[Effect], baseline: str, has_won: bool) -> str:
    changed = [effect for effect in own if effect.against == baseline and effect.verdict == "different" and effect.metric in LOOK]
    if not changed:
        return ""
    changes = listed([f"{effect.metric} ({signed(effect.difference)})" for effect in changed])
    if has_won:
        return f"Against {baseline} it also changes {changes}: part of what one sees is that."
    return f"What changes against {baseline} is {changes}: the look, which is not the same as better."
