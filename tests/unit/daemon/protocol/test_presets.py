"""Presets are written out as plain arms; what a session lacks for one is said in words."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.arms import ArmSpec, EmbeddingUse, PresetName
from daemon.protocol.errors import NegError
from daemon.protocol.presets import MAX_CHECKPOINTS, PRESETS, WORDS, Ingredients, preset_arms, random_words
from daemon.protocol.specs import ComparisonSpec

FULL = Ingredients(
    adapter="wrong",
    subject="sonic",
    embedding=EmbeddingUse(name="wrong-ti", placeholder_token="<bad>"),
    keywords=("blurry", "ugly"),
    checkpoints=(50, 100, 150),
    guidance_scale=3.0,
)
ingredients = st.builds(
    Ingredients,
    adapter=st.just("wrong"),
    word=st.text(min_size=1, max_size=9),
    subject=st.just("sonic"),
    embedding=st.sampled_from([EmbeddingUse(name="ti"), EmbeddingUse(name="ti", placeholder_token="<x>")]),
    keywords=st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=5).map(tuple),
    checkpoints=st.lists(st.integers(1, 10_000), min_size=1, max_size=30, unique=True).map(lambda steps: tuple(sorted(steps))),
    guidance_scale=st.floats(0.1, 60),
    seed=st.integers(0, 2**32),
)


def test_every_name_has_its_preset() -> None:
    assert set(PRESETS) == set(get_args(PresetName))


@pytest.mark.parametrize("name", get_args(PresetName))
@given(has=ingredients)
def test_a_preset_is_a_comparison_s_arms_that_travel_with_names_of_their_own(name: PresetName, has: Ingredients) -> None:
    arms = preset_arms(name, has)
    assert msgspec.convert(msgspec.to_builtins(arms), type=tuple[ArmSpec, ...]) == arms
    assert len({arm.name for arm in arms}) == len(arms) <= 16
    assert len({msgspec.structs.replace(arm, name="same") for arm in arms}) >= len(arms) - 2, "scarcely an arm stands there twice"
    assert all(arm.guidance_start < arm.guidance_end for arm in arms)
    assert (arms[0].adapters, arms[0].negative_prompt) == ((), None), "the first is the baseline"
    assert preset_arms(name, has) == arms


def test_three_are_the_comparison_s_own() -> None:
    assert preset_arms("three", FULL) == ComparisonSpec().arms


def test_branches_are_every_use_of_the_adapter_with_every_negative_prompt() -> None:
    arms = {arm.name: arm for arm in preset_arms("branches", FULL)}
    assert len(arms) == 16
    weights = {name: [use.weights for use in arm.adapters] for name, arm in arms.items()}
    assert weights["none-wrong"] == []
    assert weights["both-wrong"] == [(1.0, 1.0)]
    assert weights["negative-wrong"] == [(0.0, 1.0)]
    assert weights["minus-zeros"] == [(-1.0, -1.0)]
    negatives = [arms[f"none-{negative}"].negative_prompt for negative in ("zeros", "empty", "random", "wrong")]
    assert negatives == [None, "", *random_words(1, 0), "wrong"]


def test_the_subject_is_in_both_branches_and_the_negative_adapter_in_the_negative_one() -> None:
    together = preset_arms("subject", FULL)[-1]
    assert [(use.name, use.weights) for use in together.adapters] == [("sonic", (1.0, 1.0)), ("wrong", (0.0, 1.0))]


def test_an_inversion_stands_in_its_negative_prompt() -> None:
    (arm,) = [arm for arm in preset_arms("inversion", FULL) if arm.embeddings]
    assert (arm.negative_prompt, arm.adapters) == ("<bad>", ())


def test_random_words_are_drawn_by_seed_and_written_out() -> None:
    drawn = {random_words(3, seed) for seed in range(20)}
    assert len(drawn) > 10
    assert all(len(set(words)) == 3 and set(words) <= set(WORDS) for words in drawn)
    first, second = (
        [arm.negative_prompt for arm in preset_arms("placebo", with_changes(FULL, seed=seed)) if arm.name.startswith("random")]
        for seed in (0, 1)
    )
    assert first == list(random_words(3, 0)) != second


def with_changes(has: Ingredients, **changes: Any) -> Ingredients:
    return Ingredients(**{**vars(has), **changes})


@given(number=st.integers(1, 40))
def test_checkpoints_are_spread_over_the_training_and_hold_its_end(number: int) -> None:
    steps = tuple(range(10, 10 * number + 1, 10))
    used = [use.checkpoint for arm in preset_arms("checkpoints", with_changes(FULL, checkpoints=steps)) for use in arm.adapters]
    assert len(used) == min(number, MAX_CHECKPOINTS)
    assert used == sorted(set(used))
    assert used[-1] == steps[-1]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("branches", {"adapter": None}, "needs an adapter"),
        ("subject", {"subject": None}, "needs a second adapter"),
        ("checkpoints", {"checkpoints": ()}, "training.export_steps"),
        ("inversion", {"embedding": None}, "textual_inversion"),
        ("keywords", {"keywords": ()}, r"\[synthesis\] with keywords"),
    ],
)
def test_what_a_session_lacks_is_said_with_how_to_get_it(name: PresetName, change: dict[str, Any], words: str) -> None:
    with pytest.raises(NegError, match=words) as caught:
        preset_arms(name, with_changes(FULL, **change))
    assert caught.value.detail.code == "invalid"
    assert preset_arms("placebo", Ingredients()), "which needs nothing"
