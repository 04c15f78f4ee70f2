"""Verdicts are clear only where the intervals are; the placebo comes first."""

import msgspec

from daemon.judging.verdicts import in_words
from daemon.protocol.voting import Preference, Verdict

ARMS = ("baseline", "placebo", "target")


def preference(arm: str, against: str, verdict: Verdict, more: int | None = None) -> Preference:
    return Preference(
        arm=arm, against=against, num_wins=6, num_losses=4, num_ties=0, num_both_bad=0, win_rate=0.6, low=0.4, high=0.8,
        confidence=0.95, num_clusters=10, verdict=verdict, num_more_votes=more,
    )  # fmt: skip


def test_the_placebo_comes_first() -> None:
    own = (
        preference("target", "baseline", "better"),
        preference("target", "placebo", "worse"),
        preference("placebo", "baseline", "better"),
    )
    assert in_words(own, ARMS, 6) == (
        "target loses to placebo: preferred in 60 % [40 %, 80 %]. target beats baseline: preferred in 60 % [40 %, 80 %]."
    )


def test_what_is_open_is_said_to_be_with_what_would_settle_it() -> None:
    assert "No clear difference" in in_words((preference("target", "placebo", "unclear", 89),), ARMS, 6)
    assert "About 89 more votes on new prompts" in in_words((preference("target", "placebo", "unclear", 89),), ARMS, 6)
    assert "hardly settle" in in_words((preference("target", "placebo", "unclear"),), ARMS, 6)


def test_no_difference_is_a_finding_of_its_own() -> None:
    assert in_words((preference("target", "placebo", "same"),), ARMS, 6).startswith("No difference between target and placebo")


def test_few_prompts_say_so_and_promise_nothing() -> None:
    said = in_words((msgspec.structs.replace(preference("target", "placebo", "unclear"), num_clusters=5),), ARMS, 6)
    assert said.endswith("Too few prompts for a verdict: 5, at least 6 are needed.")
    assert "settle" not in said


def test_without_the_target_the_last_arm_that_was_judged_is_told() -> None:
    assert in_words((preference("placebo", "baseline", "better"),), ARMS, 6).startswith("placebo beats baseline")
    assert in_words((), ARMS, 6) == "No vote has set two arms against each other yet."
