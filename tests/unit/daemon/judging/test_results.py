"""Results: intervals that cover as often as they say, words where figures would be infinite, the same votes the same figures."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.judging import bradley_terry
from daemon.judging.results import NUM_RESAMPLES, judge, num_more_votes, read_results, vote_results, wilson
from daemon.judging.votes import Closed, Opened, Voted, append
from daemon.protocol import codec
from daemon.protocol.voting import RoundSpec, Vote
from tests.simulated_voters import ARMS, PAIRS, drawn_strengths, shares, simulate, vote

STRENGTHS = (0.0, 0.3, 0.9)
ETA = -0.7


def coverage(num_rounds: int, spread: float, num_prompts: int, num_voters: int, num_resamples: int = NUM_RESAMPLES) -> dict[str, float]:
    """The share of simulated rounds whose 95 % intervals hold the truth: what all prompts of the kind would give."""
    rng = np.random.default_rng(20260101)
    truth = shares(drawn_strengths(rng, STRENGTHS, spread, 200_000), ETA).mean(axis=0)
    rates = dict(zip(PAIRS, truth[:, 0] + truth[:, 2] / 2, strict=True))
    theta = bradley_terry.fit(1000 * truth[None], PAIRS, 3)[0, :3]
    hits: dict[str, int] = {}
    for _ in range(num_rounds):
        votes = simulate(rng, STRENGTHS, eta=ETA, spread=spread, num_prompts=num_prompts, num_voters=num_voters)
        found = vote_results(votes, ARMS, num_resamples=num_resamples)
        for one in found.preferences:
            name, true = f"{one.arm}-{one.against}", rates[ARMS.index(one.arm), ARMS.index(one.against)]
            hits[name] = hits.get(name, 0) + (one.low <= true <= one.high)
        for place, strength in enumerate(found.strengths[1:], start=1):
            low, high = strength.low or -math.inf, strength.high or math.inf
            hits[strength.arm] = hits.get(strength.arm, 0) + (low <= theta[place] - theta[0] <= high)
    return {name: count / num_rounds for name, count in hits.items()}


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("spread", "num_prompts", "num_voters"), [(0.8, 24, 3), (0.8, 12, 2), (1.2, 40, 1)])
def test_nominal_95_covers_93_to_97(spread: float, num_prompts: int, num_voters: int) -> None:
    """2,000 rounds of voters who share prompts: win rates and strengths. The standard error of a share is 0.5 percent; -s prints."""
    found = coverage(2000, spread, num_prompts, num_voters)
    print(f"\n{num_prompts} prompts, {num_voters} voters:", {name: f"{100 * share:.1f} %" for name, share in found.items()})
    assert len(found) == 5
    assert all(0.93 <= share <= 0.97 for share in found.values()), found


def test_nominal_95_covers_about_95() -> None:
    """As the long one, over 100 rounds: one standard error is 2.2 percent."""
    assert all(0.88 <= share <= 1.0 for share in coverage(100, 0.8, 24, 3, num_resamples=400).values())


def test_votes_as_independent_would_give_too_narrow_an_interval() -> None:
    """Six voters who agree about every prompt are six times the votes, not six times the evidence."""
    votes = [
        vote(f"p{prompt}", ("target", "placebo"), "first" if prompt % 2 else "second", voter=f"v{voter}")
        for prompt in range(12)
        for voter in range(6)
    ]
    many, one = (vote_results(found, ARMS).preferences[0] for found in (votes, votes[::6]))
    assert (many.low, many.high) == pytest.approx((one.low, one.high), abs=0.03)


def test_the_interval_of_unclustered_votes_is_the_textbook_s() -> None:
    votes = [vote(f"p{prompt}", ("target", "placebo"), "first" if prompt % 3 else "second") for prompt in range(300)]
    found = vote_results(votes, ARMS).preferences[0]
    theirs = scipy.stats.binomtest(200, 300).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_an_arm_that_wins_every_vote_is_said_so_without_infinities() -> None:
    votes = [vote(f"p{prompt}", ("target", other), "first") for prompt in range(30) for other in ("baseline", "placebo")]
    found = vote_results(votes, ARMS)
    codec._require_finite(found, "result")
    target = found.strengths[2]
    assert (target.value, target.low, target.high) == (None, None, None)
    assert found.preferences[0].win_rate == 1.0
    assert 0.85 < found.preferences[0].low < 0.95, "thirty prompts are not all prompts"
    assert found.verdict.startswith("target beats placebo: preferred in 100 %")


def test_too_few_prompts_are_no_verdict() -> None:
    votes = [vote(f"p{prompt}", ("target", "placebo"), "first", seed=seed) for prompt in range(5) for seed in range(40)]
    found = vote_results(votes, ARMS)
    assert found.preferences[0].verdict == "unclear"
    assert found.verdict.endswith("Too few prompts for a verdict: 5, at least 6 are needed.")


def test_one_vote_and_none_are_no_fault() -> None:
    alone = vote_results([vote("p", ("target", "placebo"), "first")], ARMS)
    assert (alone.preferences[0].confidence, alone.preferences[0].verdict) == (0.0, "unclear")
    nothing = vote_results([], ARMS)
    assert (nothing.num_votes, nothing.preferences, nothing.tie_rate) == (0, (), 0.0)
    assert [strength.value for strength in nothing.strengths] == [0.0, None, None]
    for found in (alone, nothing):
        codec._require_finite(found, "result")


def test_arms_that_no_vote_ties_to_the_baseline_have_no_strength() -> None:
    votes = [vote(f"p{prompt}", ("target", "placebo"), "first" if prompt % 3 else "second") for prompt in range(12)]
    assert [strength.value for strength in vote_results(votes, ARMS).strengths] == [0.0, None, None]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 7), st.sampled_from(PAIRS), st.sampled_from(["first", "second", "tie", "both_bad", "skip"]))))
def test_any_votes_give_finite_figures_and_the_same_ones_again(told: list[tuple[int, tuple[int, int], str]]) -> None:
    votes = [vote(f"p{prompt}", [ARMS[arm] for arm in pair], choice, number=n) for n, (prompt, pair, choice) in enumerate(told)]  # type: ignore[arg-type]
    found = vote_results(votes, ARMS, num_resamples=50)
    codec._require_finite(found, "result")
    assert found == vote_results(votes, ARMS, num_resamples=50)
    for one in found.preferences:
        assert one.low <= one.win_rate + 1e-9
        assert one.win_rate <= one.high + 1e-9
        assert one.num_wins + one.num_losses + one.num_ties > 0


def test_repeats_tell_consistency_and_count_once() -> None:
    votes: list[Vote] = []
    for prompt in range(10):
        votes.append(vote(f"p{prompt}", ("target", "placebo"), "first"))
        votes.append(vote(f"p{prompt}", ("placebo", "target"), "second" if prompt < 7 else "first", is_repeat=True))
    found = vote_results(votes, ARMS)
    assert found.num_votes == 10
    assert found.preferences[0].num_wins == 10
    (me,) = found.voters
    assert (me.num_votes, me.num_repeats, me.num_consistent) == (10, 10, 7)
    theirs = scipy.stats.binomtest(7, 10).proportion_ci(method="wilson")
    assert (me.low, me.high) == pytest.approx((theirs.low, theirs.high))
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.51, 0.7, "better"), (0.3, 0.49, "worse"), (0.42, 0.58, "same"), (0.38, 0.55, "unclear"), (0.5, 0.9, "unclear")],
)
def test_only_an_interval_decides(low: float, high: float, verdict: str) -> None:
    assert judge(low, high) == verdict


def test_how_many_more_votes_is_the_textbook_s_number() -> None:
    """A share of 0.6 against 1/2 is told with a chance of 80 % by 189 votes (z 1.96 and 0.84, variance 0.24)."""
    assert num_more_votes(0.6, math.sqrt(0.24 / 50), 50) == 189 - 50
    assert num_more_votes(0.5, 0.05, 50) is None
    assert num_more_votes(0.501, 0.05, 50) is None
    assert num_more_votes(0.9, 0.001, 50) == 1


def test_votes_about_pictures_that_were_painted_anew_are_left_out(tmp_path: Path) -> None:
    spec = RoundSpec(seed=0)
    append(tmp_path, Opened(round_id="a" * 12, time=0.0, voter="me", spec=spec, arms=ARMS, pictures_sha256="x", num_trials=9))
    for number, sha256 in enumerate(("new", "old")):
        append(
            tmp_path,
            Voted(
                round_id="a" * 12, time=1.0, voter="me", number=number, prompt=f"p{number}", seed=0, arms=("target", "placebo"),
                sha256s=(sha256, "other"), choice="first", chosen="target",
            ),
        )  # fmt: skip
    current = {("p0", 0, "target", "new"), ("p0", 0, "placebo", "other"), ("p1", 0, "target", "new"), ("p1", 0, "placebo", "other")}
    assert read_results(tmp_path, ARMS, current) is None
    append(tmp_path, Closed(round_id="a" * 12, time=2.0))
    found = read_results(tmp_path, ARMS, current)
    assert found is not None
    assert (found.num_rounds, found.num_votes, found.num_outdated) == (1, 1, 1)
    whole = read_results(tmp_path, ARMS)
    assert whole is not None
    assert whole.num_votes == 2
