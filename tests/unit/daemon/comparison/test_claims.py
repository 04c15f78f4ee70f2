"""A claim holds only where the placebo does not have it too and contrast does not explain it."""

from dataclasses import dataclass

import numpy as np
import pytest

from daemon.comparison.claims import OPTIONAL, STATEMENTS, Roles, find_claims, find_roles
from daemon.comparison.plan import Block
from daemon.measuring.metrics import METRICS
from daemon.protocol.effects import Claim

NAMES = ("baseline", "placebo", "target")
ROLES = Roles("target", "baseline", "placebo")


@dataclass(frozen=True)
class AnArm:
    name: str
    negative_prompt: str | None = None
    adapters: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()


def claims(count: int = 24, roles: Roles = ROLES, seed: int = 0, **means: tuple[float, float, float]) -> dict[str, Claim]:
    """Of figures around `means` (metric -> of baseline, placebo, target), contrast and saturation the same in all arms unless given."""
    rng = np.random.default_rng(seed)
    figures = {"contrast": (0.3, 0.3, 0.3), "saturation": (0.5, 0.5, 0.5), **means}
    values = {
        (index, name): {metric: of[arm] * (1 + float(rng.normal(0, 0.01))) for metric, of in figures.items()}
        for index in range(count)
        for arm, name in enumerate(NAMES)
    }
    blocks = [Block(index, f"prompt {index}", 0) for index in range(count)]
    return {claim.name: claim for claim in find_claims(blocks, roles, values)}


def test_what_differs_from_both_holds() -> None:
    claim = claims(flaw_probability=(0.2, 0.2, 0.1))["artifacts"]
    assert (claim.verdict, claim.metric, claim.claimed) == ("holds", "flaw_probability", "lower")
    assert claim.against_baseline is not None
    assert claim.against_placebo is not None
    assert claim.against_baseline.high < 0
    assert claim.held is not None
    assert claim.held_metrics == ("contrast", "saturation")
    assert claim.reading == "Against baseline and placebo, also with contrast and saturation held."


def test_what_the_word_alone_does_is_not_beyond_the_placebo() -> None:
    assert claims(flaw_probability=(0.2, 0.1, 0.1))["artifacts"].verdict == "not beyond placebo"


def test_sharpness_that_contrast_explains_is_called_contrast() -> None:
    claim = claims(contrast=(0.3, 0.3, 0.36), sharpness=(100, 100, 144), relative_sharpness=(2.0, 2.0, 2.0))["sharpness"]
    assert claim.verdict == "only contrast"
    assert claim.held is not None
    assert claim.held.metric == "relative_sharpness"
    assert "With contrast held" in claim.reading


def test_sharpness_beyond_contrast_holds() -> None:
    found = claims(contrast=(0.3, 0.3, 0.36), sharpness=(100, 100, 200), relative_sharpness=(2.0, 2.0, 2.8))
    assert found["sharpness"].verdict == "holds"


def test_less_relative_sharpness_is_only_contrast_too() -> None:
    found = claims(contrast=(0.3, 0.3, 0.36), sharpness=(100, 100, 110), relative_sharpness=(2.0, 2.0, 1.6))
    assert found["sharpness"].verdict == "only contrast"


def test_quality_that_goes_with_saturation_is_called_that() -> None:
    """Flaws fall exactly by how much saturation rises, block by block."""
    rng = np.random.default_rng(1)
    values = {}
    for index in range(40):
        rise = float(rng.uniform(0, 0.2))
        for name, by in (("baseline", 0.0), ("placebo", 0.0), ("target", rise)):
            noise = float(rng.normal(0, 0.002))
            values[index, name] = {
                "contrast": 0.3 + noise,
                "saturation": 0.4 + by,
                "flaw_probability": 0.5 - by + float(rng.normal(0, 0.005)),
            }
    blocks = [Block(index, f"prompt {index}", 0) for index in range(40)]
    found = {claim.name: claim for claim in find_claims(blocks, ROLES, values)}
    assert found["artifacts"].verdict == "only contrast or saturation"
    assert found["saturation"].verdict == "holds"


def test_the_other_direction_is_reversed() -> None:
    assert claims(texture=(0.2, 0.2, 0.1), relative_texture=(0.2, 0.2, 0.1))["texture"].verdict == "reversed"


@pytest.mark.parametrize(
    ("count", "target", "why"), [(24, 0.2, "No clear difference from baseline."), (3, 0.1, "Too few prompts for a verdict.")]
)
def test_no_difference_is_unclear_and_so_is_one_of_few_prompts(count: int, target: float, why: str) -> None:
    claim = claims(count, flaw_probability=(0.2, 0.2, target))["artifacts"]
    assert (claim.verdict, claim.reading) == ("unclear", why)


def test_few_prompts_are_not_held() -> None:
    claim = claims(8, flaw_probability=(0.2, 0.2, 0.1))["artifacts"]
    assert (claim.verdict, claim.held) == ("holds", None)
    assert "too few prompts to hold contrast and saturation" in claim.reading


def test_what_nothing_measures_says_what_would() -> None:
    found = claims()
    assert found["artifacts"].verdict == found["obedience"].verdict == "not measured"
    assert "toy-probe" in found["artifacts"].reading
    assert "clip-score" in found["obedience"].reading
    assert not set(OPTIONAL) & set(found)


def test_every_model_of_preference_has_its_row() -> None:
    blocks = [Block(index, f"prompt {index}", 0) for index in range(6)]
    cell = {"contrast": 0.3, "saturation": 0.5, "pickscore": 20.0, "hpsv2_1": 0.3}
    found = find_claims(blocks, ROLES, {(index, name): cell for index in range(6) for name in NAMES})
    assert [claim.metric for claim in found if claim.name == "preference"] == ["pickscore", "hpsv2_1"]


def test_statements_name_metrics_that_are_there() -> None:
    named = {name for one in STATEMENTS for name in (*one.metrics, *one.held, *((one.relative,) if one.relative else ()))}
    assert named <= set(METRICS)


PLACEBO, TARGET = AnArm("word", "wrong"), AnArm("lora", "wrong", ("wrong",))


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ((AnArm("baseline"), AnArm("placebo", "wrong"), AnArm("target", "wrong", ("wrong",))), ROLES),
        ((AnArm("plain"), PLACEBO, TARGET), Roles("lora", "plain", "word")),
        ((AnArm("plain"), TARGET), Roles("lora", "plain", None)),
        ((AnArm("target", "wrong", ("w",)), AnArm("baseline")), Roles("target", "baseline", None)),
        ((AnArm("a"), AnArm("b", "blurry"), TARGET), Roles("lora", "a", None)),
        ((AnArm("only"),), None),
    ],
)
def test_arms_are_known_by_name_or_by_what_they_are(arms: tuple[AnArm, ...], expected: Roles | None) -> None:
    assert find_roles(arms) == expected


def test_one_arm_has_no_claims() -> None:
    assert find_claims((), None, {}) == ()
