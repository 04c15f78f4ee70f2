"""The first sentence says what the figures against the placebo say, no more."""

from dataclasses import replace

import msgspec
import pytest
from found import EFFECTS, findings

from daemon.comparison.report.headline import find_headline


@pytest.mark.parametrize(
    ("flaws", "adherence", "text", "tone"),
    [
        ("better", "unclear", "target beats the placebo", "good"),
        ("better", "better", "target beats the placebo", "good"),
        ("unclear", "unclear", "target does not clearly beat the placebo", "open"),
        ("worse", "unclear", "target does worse than the placebo", "bad"),
        ("better", "worse", "target beats the placebo on flaw probability, and does worse on adherence", "open"),
    ],
)
def test_every_measure_of_quality_has_its_say(flaws: str, adherence: str, text: str, tone: str) -> None:
    verdicts = {"flaw_probability": flaws, "adherence": adherence}
    effects = tuple(
        msgspec.structs.replace(one, verdict=verdicts[one.metric]) if one.metric in verdicts and one.against == "placebo" else one
        for one in EFFECTS
    )
    found = find_headline(replace(findings(), effects=effects))
    assert (found.text, found.tone) == (text, tone)
    assert found.details[0].startswith("flaw probability 0.100 against 0.300, -0.200 [-0.300, -0.100]")


def test_where_quality_was_not_measured_nothing_is_claimed() -> None:
    look = tuple(one for one in EFFECTS if one.better == "neither")
    found = find_headline(replace(findings(), effects=look))
    assert found.text == "Whether target beats the placebo was not measured"
    assert found.tone == "open"


def test_one_arm_is_compared_with_nothing() -> None:
    found = find_headline(replace(findings(), arms=findings().arms[:1], effects=()))
    assert found.text == "Only one arm was painted"
