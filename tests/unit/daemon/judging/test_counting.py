"""Votes as counts: whose side, which prompt, what counts once."""

import numpy as np

from daemon.judging.counting import answered, tally
from tests.simulated_voters import ARMS, vote


def counted(*votes: object) -> dict[tuple[int, int], list[float]]:
    found = tally(votes, ARMS)  # type: ignore[arg-type]
    return {pair: list(found.counts[:, number].sum(axis=0)) for number, pair in enumerate(found.pairs)}


def test_of_a_pair_the_later_arm_is_the_first_whatever_its_place() -> None:
    assert counted(vote("p", ("target", "baseline"), "first"), vote("q", ("baseline", "target"), "second")) == {(2, 0): [2, 0, 0, 0]}
    assert counted(vote("p", ("target", "baseline"), "second"), vote("q", ("baseline", "target"), "first")) == {(2, 0): [0, 2, 0, 0]}


def test_both_bad_is_a_tie_and_counted_as_what_it_is() -> None:
    assert counted(vote("p", ("target", "placebo"), "tie"), vote("q", ("placebo", "target"), "both_bad")) == {(2, 1): [0, 0, 2, 1]}


def test_a_choice_among_three_beats_each_of_the_others_and_says_nothing_of_those() -> None:
    assert counted(vote("p", ("placebo", "target", "baseline"), "second")) == {(2, 0): [1, 0, 0, 0], (2, 1): [1, 0, 0, 0]}
    assert counted(vote("p", ("placebo", "target", "baseline"), "first")) == {(2, 1): [0, 1, 0, 0], (1, 0): [1, 0, 0, 0]}
    assert counted(vote("p", ("placebo", "target", "baseline"), "tie")) == {pair: [0, 0, 1, 0] for pair in ((2, 0), (2, 1), (1, 0))}


def test_prompts_are_the_clusters_and_of_one_prompt_its_seeds() -> None:
    two = [vote(prompt, ("target", "baseline"), "first", seed=seed) for prompt in "pq" for seed in (1, 2)]
    assert tally(two, ARMS).counts.shape == (2, 1, 4)
    assert np.array_equal(tally(two, ARMS).counts[:, 0, 0], [2, 2])
    assert tally(two[:2], ARMS).counts.shape == (2, 1, 4)


def test_arms_that_are_no_longer_there_do_not_count() -> None:
    assert counted(vote("p", ("target", "gone"), "first")) == {}
    assert tally([], ARMS).counts.shape == (0, 0, 4)


def test_the_first_answer_counts_and_the_later_ones_are_repeats() -> None:
    votes = [
        vote("p", ("target", "baseline"), "skip"),
        vote("p", ("target", "baseline"), "first", number=1),
        vote("p", ("baseline", "target"), "tie", number=2),
        vote("p", ("baseline", "target"), "first", number=3, voter="you"),
        vote("p", ("placebo", "target"), "first", number=4),
    ]
    found = answered(votes)
    assert [(one.first.number, [later.number for later in one.later]) for one in found] == [(1, [2]), (3, []), (4, [])]
