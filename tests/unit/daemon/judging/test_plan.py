"""A round is a pure function of seed, voter and pictures; fair to arms and places; repeats swap; equal pictures never meet."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.judging.plan import REPEAT_GAP, Ballot, plan_round
from daemon.protocol.errors import NegError
from daemon.protocol.voting import RoundSpec
from tests.judged_blocks import ARMS, blocks


def plan(voter: str = "me", num_prompts: int = 20, **spec: object) -> tuple[Ballot, ...]:
    return plan_round(RoundSpec(**{"seed": 0, **spec}), voter, ARMS, blocks(num_prompts))  # type: ignore[arg-type]


def key(ballot: Ballot) -> tuple[str, int, frozenset[str]]:
    return ballot.prompt, ballot.seed, frozenset(ballot.arms)


@given(
    st.integers(1, 12),
    st.integers(1, 3),
    st.sampled_from([2, 3]),
    st.one_of(st.none(), st.integers(1, 40)),
    st.floats(0, 1),
    st.integers(0, 2**63 - 1),
)
def test_every_round_is_whole(num_prompts: int, num_seeds: int, num_shown: int, num_trials: int | None, share: float, seed: int) -> None:
    spec = RoundSpec(num_shown=num_shown, num_trials=num_trials, repeat_share=share, seed=seed)  # type: ignore[arg-type]
    found = blocks(num_prompts, num_seeds)
    planned = plan_round(spec, "me", ARMS, found)
    assert planned == plan_round(spec, "me", ARMS, found[::-1]), "the order of the blocks in the file plays no part"
    firsts = [ballot for ballot in planned if ballot.repeats is None]
    every = len(found) * (3 if num_shown == 2 else 1)
    assert len(firsts) == min(every, num_trials or every)
    assert len(planned) - len(firsts) == round(share * len(firsts))
    assert [ballot.number for ballot in planned] == list(range(len(planned)))
    assert max(Counter(map(key, firsts)).values()) == 1
    for ballot in planned:
        assert [cell.image.arm for cell in ballot.cells] == list(ballot.arms)
        if ballot.repeats is not None:
            first = planned[ballot.repeats]
            assert first.number < ballot.number
            assert (key(first), first.arms[::-1]) == (key(ballot), ballot.arms)


def test_another_voter_or_seed_has_another_order() -> None:
    orders = {tuple((ballot.prompt, ballot.arms) for ballot in plan(voter, seed=seed)) for voter in ("me", "you") for seed in (0, 1)}
    assert len(orders) == 4


def test_the_order_stays_as_it_was_through_versions() -> None:
    """A round that was begun goes on in the same order after an update."""
    assert [(ballot.prompt, ballot.arms) for ballot in plan(num_prompts=3, num_trials=3, repeat_share=0)] == [
        ("a scene 1", ("target", "placebo")),
        ("a scene 2", ("baseline", "target")),
        ("a scene 0", ("placebo", "baseline")),
    ]


def test_a_round_closed_early_has_judged_all_pairs_on_many_prompts() -> None:
    early = plan(num_prompts=30, repeat_share=0)[:30]
    assert len({ballot.prompt for ballot in early}) == 30
    assert set(Counter(frozenset(ballot.arms) for ballot in early).values()) == {10}


def test_no_place_is_an_arm_s_own() -> None:
    firsts = Counter(ballot.arms[0] for seed in range(10) for ballot in plan(num_prompts=40, seed=seed, repeat_share=0))
    assert all(0.28 < count / firsts.total() < 0.38 for count in firsts.values())


def test_repeats_come_late_enough() -> None:
    planned = plan(num_prompts=20, repeat_share=0.2)
    gaps = [ballot.number - ballot.repeats for ballot in planned if ballot.repeats is not None]
    assert len(gaps) == 12
    assert min(gaps) > REPEAT_GAP


def test_equal_pictures_never_meet() -> None:
    found = blocks(4, same={(0, "baseline"), (0, "placebo")})
    planned = plan_round(RoundSpec(seed=0, repeat_share=0), "me", ARMS, found)
    assert len(planned) == 11
    assert ("a scene 0", 0, frozenset(("baseline", "placebo"))) not in set(map(key, planned))
    assert len(plan_round(RoundSpec(seed=0, num_shown=3, repeat_share=0), "me", ARMS, found)) == 3


@pytest.mark.parametrize(
    ("arms", "num_shown", "code"),
    [(("target", "nosuch"), 2, "invalid"), (("target",), 2, "invalid"), (("target", "placebo"), 3, "invalid")],
)
def test_what_cannot_be_shown_is_said(arms: tuple[str, ...], num_shown: int, code: str) -> None:
    with pytest.raises(NegError) as refused:
        plan(arms=arms, num_shown=num_shown)
    assert refused.value.detail.code == code


def test_a_comparison_without_a_difference_has_nothing_to_vote_on() -> None:
    found = blocks(2, same={(index, arm) for index in range(2) for arm in ARMS})
    with pytest.raises(NegError, match="No two pictures"):
        plan_round(RoundSpec(seed=0), "me", ARMS, found)
