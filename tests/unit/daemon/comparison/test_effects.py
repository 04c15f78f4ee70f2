"""Effects and the verdict say what the figures say, and no more."""

import numpy as np
import pytest

from daemon.comparison.effects import (
    MAX_ARMS_ALL_PAIRS,
    MAX_ARMS_LAST_PAIRS,
    arm_means,
    arm_pairs,
    figure,
    find_effects,
    signed,
    verdict_in_words,
)
from daemon.comparison.plan import Block
from daemon.protocol.effects import Effect

NAMES = ("baseline", "placebo", "target")


def blocks(count: int) -> tuple[Block, ...]:
    return tuple(Block(index, f"prompt {index}", 0) for index in range(count))


def values(count: int, noise: float = 0.02, **means: tuple[float, float, float]) -> dict[tuple[int, str], dict[str, float]]:
    """Figures of `count` blocks by three arms around `means` (metric -> of baseline, placebo, target)."""
    rng = np.random.default_rng(0)
    return {
        (index, name): {metric: of_arms[arm] + float(rng.normal(0, noise)) for metric, of_arms in means.items()}
        for index in range(count)
        for arm, name in enumerate(NAMES)
    }


def told(found: dict[tuple[int, str], dict[str, float]], count: int) -> tuple[dict[tuple[str, str, str], Effect], str]:
    effects = find_effects(blocks(count), NAMES, found)
    return {(effect.metric, effect.arm, effect.against): effect for effect in effects}, verdict_in_words(effects, NAMES, count)


def test_pairs_put_the_target_first_and_each_arm_against_every_earlier_one() -> None:
    assert arm_pairs(NAMES) == [("target", "baseline"), ("target", "placebo"), ("placebo", "baseline")]
    assert arm_pairs(("only",)) == []
    many = [f"arm-{number}" for number in range(MAX_ARMS_ALL_PAIRS + 1)]
    assert arm_pairs(many)[: len(many) - 1] == [(many[-1], other) for other in many[:-1]]
    assert arm_pairs(many)[len(many) - 1 :] == [(name, many[0]) for name in reversed(many[1:-1])]
    more = [f"arm-{number}" for number in range(MAX_ARMS_LAST_PAIRS + 1)]
    assert arm_pairs(more) == [(name, more[0]) for name in reversed(more[1:])]


def test_a_target_that_wins_is_said_to_win_with_figures() -> None:
    effects, verdict = told(values(40, flaw_probability=(0.19, 0.186, 0.135)), 40)
    effect = effects["flaw_probability", "target", "baseline"]
    assert (effect.verdict, effect.better, effect.confidence, effect.num_blocks) == ("better", "lower", 0.95, 40)
    assert effect.difference == pytest.approx(effect.mean - effect.mean_against)
    assert effect.low < effect.difference < effect.high < 0
    assert effects["flaw_probability", "placebo", "baseline"].verdict == "unclear"
    assert verdict.startswith("On flaw_probability, target beats baseline (0.1")
    assert " and placebo (" in verdict


def test_a_target_that_beats_the_baseline_only_is_not_said_to_beat_the_placebo() -> None:
    _, verdict = told(values(40, flaw_probability=(0.19, 0.135, 0.135)), 40)
    assert "target beats baseline (" in verdict
    assert "it is not clearly better or worse than placebo (" in verdict


def test_a_target_that_loses_is_said_to_lose() -> None:
    effects, verdict = told(values(40, adherence=(0.9, 0.9, 0.7)), 40)
    assert effects["adherence", "target", "placebo"].verdict == "worse"
    assert "On adherence, target does worse than baseline (" in verdict


def test_a_change_of_look_is_called_that() -> None:
    effects, verdict = told(values(40, flaw_probability=(0.2, 0.2, 0.2), contrast=(0.2, 0.2, 0.4), saturation=(0.3, 0.3, 0.3)), 40)
    assert effects["contrast", "target", "baseline"].verdict == "different"
    assert "not clearly better or worse" in verdict
    assert "What changes against baseline is contrast (+0.198)" in verdict
    assert "not the same as better" in verdict
    assert "saturation" not in verdict


def test_a_winner_that_also_changes_the_look_is_said_to() -> None:
    _, verdict = told(values(40, flaw_probability=(0.2, 0.2, 0.1), contrast=(0.2, 0.2, 0.4)), 40)
    assert "target beats baseline" in verdict
    assert "Against baseline it also changes contrast" in verdict


def test_without_a_measure_of_quality_nothing_is_better() -> None:
    effects, verdict = told(values(40, sharpness=(100.0, 100.0, 200.0)), 40)
    assert {effect.verdict for effect in effects.values()} == {"different", "unclear"}
    assert verdict.startswith("No measure of quality was asked for")


@pytest.mark.parametrize(("count", "said"), [(1, "One block only"), (5, "Too few blocks for a verdict: 5, at least 6")])
def test_too_few_blocks_decide_nothing(count: int, said: str) -> None:
    effects, verdict = told(values(count, noise=0.001, flaw_probability=(0.9, 0.9, 0.1)), count)
    assert {effect.verdict for effect in effects.values()} == {"unclear"}
    assert verdict.startswith(said)
    assert "beats" not in verdict


def test_identical_arms_are_unclear() -> None:
    found = {(index, name): {"flaw_probability": 0.1 * index} for index in range(8) for name in NAMES}
    effects, _ = told(found, 8)
    assert {(effect.verdict, effect.low, effect.high) for effect in effects.values()} == {("unclear", 0.0, 0.0)}


def test_blocks_without_a_metric_are_left_out_of_it() -> None:
    found = values(10, flaw_probability=(0.2, 0.2, 0.1), adherence=(0.5, 0.5, 0.5))
    for index in range(3):
        del found[index, "target"]["adherence"]
    effects, _ = told(found, 10)
    assert effects["adherence", "target", "baseline"].num_blocks == 7
    assert effects["adherence", "placebo", "baseline"].num_blocks == 10
    assert effects["flaw_probability", "target", "baseline"].num_blocks == 10


def test_one_arm_is_compared_with_nothing() -> None:
    found = {(0, "only"): {"contrast": 0.5}}
    assert find_effects(blocks(1), ("only",), found) == ()
    assert "one arm only" in verdict_in_words((), ("only",), 1)


def test_means_are_by_arm() -> None:
    found = {(0, "a"): {"contrast": 0.2}, (1, "a"): {"contrast": 0.4}, (0, "b"): {}, (1, "b"): {"contrast": 1.0}}
    assert arm_means(("a", "b"), found) == {"a": {"contrast": pytest.approx(0.3)}, "b": {"contrast": 1.0}}


@pytest.mark.parametrize(
    ("value", "plain", "with_sign"),
    [
        (0.0, "0.000", "0.000"),
        (-1e-9, "0.000", "0.000"),
        (0.135, "0.135", "+0.135"),
        (-0.0042, "-0.0042", "-0.0042"),
        (908.46, "908.5", "+908.5"),
    ],
)
def test_figures_are_short(value: float, plain: str, with_sign: str) -> None:
    assert (figure(value), signed(value)) == (plain, with_sign)
