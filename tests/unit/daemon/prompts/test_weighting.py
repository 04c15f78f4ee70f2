from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.prompts.weighting import check_weighting

READABLE = [
    "",
    "a red circle",
    "a (blurry)++++ circle, low quality",
    "a (blurry)1.4 circle",
    "a (blurry)1.4, circle",
    "(blurry)0.5",
    "(blurry).5",
    "(blurry)--",
    "blurry+ circle",
    "a large delicious hamburger (in the shape of five-dimensional alien geometry)++++, professional food photography",
    "presidential painting, (oil on canvas)+++++",
    "(a (red)++ circle)0.8",
    '("a circle", "a star").and()',
    '("a circle", "a star").and(1, 0.5)',
    '("a circle", "a star").blend(0.7, 0.3)',
    r"a smile \(happy\)",
    r"a smile \:\)",
    "a circle (in brackets) and more",
    "time: 12:30, ratio 16:9",
    "a cat - a dog",
    "in 1995 (nineteen ninety five) 3 cats",
    "C++ programming",
    '6" ruler',
    "<html> [sic]",
]

UNREADABLE = [
    ("(blurry:1.5)", "(blurry)1.5"),
    ("a (low quality: 1.2), b", "(low quality)1.2"),
    ("((blurry))", "(blurry)++"),
    ("(((blurry)))", "(blurry)++"),
    ("[a:0.5]", "leave it out"),
    ("a <lora:wrong:0.7>", "in the arm"),
    ("useLora(wrong, 0.5)", "in the arm"),
    ("(blurry", r"\("),
    ("blurry)", r"\)"),
    ("(blurry) 1.5", "(blurry)1.5"),
    ("(blurry) ++", "(blurry)++"),
    ("blurry ++", "blurry++"),
    ("(blurry)*1.5", "(blurry)1.5"),
    ("(blurry)=1.5", "(blurry)1.5"),
    ("(blurry):1.5", "(blurry)1.5"),
    ("(blurry)-1.5", "(blurry)0.5"),
    ("(blurry)1,5", "(blurry)1.4"),
    ("(blurry)1.5.2", "(blurry)1.4"),
    ("(blurry)++1.2", "(blurry)++"),
    ("(blurry)1.5++", "(blurry)++"),
    ("(blurry)+-", "(blurry)++"),
    ("(blurry)1.5x", "(blurry)1.4"),
    ("(blurry)++very", "(blurry)++"),
    ("()++", "words"),
    ("(x = y)++", r"\="),
    ("(a - b)++", r"\-"),
    ('(6" ruler)++', '\\"'),
    ("a cat.swap(dog)", "fine or told"),
    ("(a cat).swap(dog)", "Leave it out"),
    ('("a", "b").blend(0.5)', "one weight"),
    ('("a", "b").blend(x, y)', "0.7, 0.3"),
    ('("a", "b").and(1)', "one weight"),
]


@pytest.mark.parametrize("prompt", READABLE)
def test_what_compel_reads_passes(prompt: str) -> None:
    assert check_weighting(prompt) is None


@pytest.mark.parametrize(("prompt", "hint"), [pair for pair in UNREADABLE if pair[1] != "fine or told"])
def test_what_compel_takes_for_words_is_told_with_the_right_spelling(prompt: str, hint: str) -> None:
    error = check_weighting(prompt)
    assert error is not None
    assert error.detail.code == "invalid"
    assert hint in error.detail.hint, error


def test_the_place_is_told() -> None:
    error = check_weighting("a circle, (blurry:1.5)")
    assert error is not None
    assert "'(blurry:1.5)' at character 11" in error.detail.message


def test_the_hint_is_itself_readable() -> None:
    for prompt, hint in UNREADABLE:
        if hint.startswith("("):
            assert check_weighting(hint) is None, prompt


@given(st.text(alphabet='ab +-().,:=*"\\15[]<>', max_size=40))
def test_any_prompt_is_judged_without_a_crash(prompt: str) -> None:
    error = check_weighting(prompt)
    assert error is None or error.detail.hint
