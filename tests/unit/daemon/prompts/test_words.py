"""Words come out of their weights, whatever brackets they stood in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.prompts.words import plain_words


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a wolf, film photography", "a wolf, film photography"),
        ("a (red)1.4 star", "a red star"),
        ("a large hamburger (in the shape of alien geometry)++++, food", "a large hamburger in the shape of alien geometry, food"),
        ("a ((tiny)++ red)0.8 star", "a tiny red star"),
        ("blurry++ and grainy-", "blurry and grainy"),
        ('("a star", "a moon"+).and(1, 0.5)', "a star, a moon"),
        ("a hand-made C++ thing", "a hand-made C thing"),
        ("a star (in brackets)", "a star (in brackets)"),
        (r"a \(literal\) sign", "a (literal) sign"),
        ("(dull)-- colours", "dull colours"),
        ("", ""),
    ],
)
def test_weights_go_and_words_stay(prompt: str, expected: str) -> None:
    assert plain_words(prompt) == expected


@given(st.text(alphabet='ab ()+-.1\\",', max_size=40))
def test_any_text_has_words_and_they_are_stable(prompt: str) -> None:
    assert "  " not in plain_words(prompt)


@given(st.lists(st.sampled_from(["star", "moon", "red"]), min_size=1, max_size=6))
def test_unweighted_words_are_what_they_were(words: list[str]) -> None:
    assert plain_words(" ".join(words)) == " ".join(words)
