"""Weights as other programs write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.prompts.translation import translate_weights


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a wolf in the snow", "a wolf in the snow"),
        ("low quality, (bad hands)++++, blurry", "low quality, (bad hands:1.4641), blurry"),
        ("blurry++, a dog--", "(blurry:1.21), a (dog:0.81)"),
        ("(dark sky)0.5 and (a moon)1.40", "(dark sky:0.5) and (a moon:1.4)"),
        ("(a (red)+ hat)-", "(a (red:1.1) hat:0.9)"),
        ("a (plain) bracket", "a plain bracket"),
        ("a \\(real\\) bracket", "a \\(real\\) bracket"),
        ("well-known, 1980s-style", "well-known, 1980s-style"),
        ("(human Super Mario)++, edgy", "(human Super Mario:1.21), edgy"),
        ('("a dog", "a cat").blend(0.7, 0.3)', '("a dog", "a cat").blend(0.7, 0.3)'),
        ("(never closed", "(never closed"),
        ("closed) too often", "closed) too often"),
        ("ends in \\", "ends in \\"),
        ("", ""),
    ],
)
def test_a_weight_is_a_number_behind_a_colon(prompt: str, expected: str) -> None:
    assert translate_weights(prompt) == expected


@given(st.text(alphabet='ab ,.()+-\\"1', max_size=60))
def test_no_letter_is_lost_and_nothing_raises(prompt: str) -> None:
    assert re.findall("[ab]", translate_weights(prompt)) == re.findall("[ab]", prompt)
