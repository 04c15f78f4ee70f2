"""What the votes of a comparison say: strengths, win rates, the voters' own consistency, all with intervals. Pure but for `read_results`.

Intervals are a cluster bootstrap: whole prompts are drawn, with all seeds, voters and pairs of a vote that belong to them; where there is
one prompt only, its seeds. (Drawing seeds again inside drawn prompts would count their chance twice; Davison and Hinkley, 1997, 3.8.)
They speak of these voters and of other prompts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from daemon.judging import bradley_terry, verdicts
from daemon.judging.bradley_terry import MAX_STRENGTH
from daemon.judging.counting import Answers, Tally, answered, tally
from daemon.judging.votes import read_rounds, read_votes
from daemon.protocol.voting import Consistency, Preference, Strength, Verdict, Vote, VoteResults
from daemon.student import MIN_CLUSTERS, expanded_tail

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
NUM_RESAMPLES = 2000
SAME_MARGIN = 0.1
"""Win rates nearer to 1/2 than this are called the same, where the whole interval is."""
POWER = 0.8
MAX_MORE_VOTES = 10_000

Shown = tuple[str, int, str, str]
"""(prompt, seed, arm, the picture's sha256)"""


def read_results(folder: Path, arms: Sequence[str], current: Collection[Shown] | None = None) -> VoteResults | None:
    """The results of the closed rounds in a comparison's folder; None where there is none. `arms`: all of the comparison, in its order.

    `current`: its pictures as they are now; votes about others are left out, and counted. None: all votes count.
    """
    num_rounds = sum(found.is_closed for found in read_rounds(folder).values())
    return vote_results(read_votes(folder), arms, num_rounds, current) if num_rounds else None


def vote_results(
    votes: Sequence[Vote],
    arms: Sequence[str],
    num_rounds: int = 1,
    current: Collection[Shown] | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
) -> VoteResults:
    """All figures. The same votes give the same ones, bit for bit."""
    kept = [vote for vote in votes if current is None or _is_current(vote, current)]
    answers = answered(kept)
    counted = [one.first for one in answers]
    table = tally(counted, arms)
    strengths, rates, draws = _figures(table, len(arms), num_resamples)
    preferences = _preferences(table, arms, rates, draws)
    num_votes = max(1, len(counted))
    return VoteResults(
        num_rounds=num_rounds,
        num_votes=len(counted),
        num_skipped=sum(vote.choice == "skip" for vote in kept),
        num_outdated=len(votes) - len(kept),
        num_prompts=len({vote.prompt for vote in counted}),
        tie_rate=sum(not vote.chosen for vote in counted) / num_votes,
        both_bad_rate=sum(vote.choice == "both_bad" for vote in counted) / num_votes,
        arms=tuple(arms),
        strengths=_strengths(table, arms, strengths),
        preferences=preferences,
        voters=_consistency(answers),
        verdict=verdicts.in_words(preferences, arms, MIN_CLUSTERS),
    )


def _is_current(vote: Vote, current: Collection[Shown]) -> bool:
    return all((vote.prompt, vote.seed, arm, sha256) in current for arm, sha256 in zip(vote.arms, vote.sha256s, strict=True))


def _figures(table: Tally, num_arms: int, num_resamples: int) -> tuple[Floats, Floats, Floats]:
    """(1 + B, num_arms) strengths relative to the first arm, (P,) win rates and (B, P) resampled ones."""
    whole = table.counts.sum(axis=0)[None, :, :3]
    resampled = _resample(table.counts[:, :, :3], num_resamples) if len(table.counts) > 1 else whole[:0]
    counts = np.concatenate([whole, resampled])
    strengths = bradley_terry.fit(counts, table.pairs, num_arms)[:, :num_arms]
    totals = counts.sum(axis=2)
    # A pair that a resample does not hold says nothing there.
    rates = np.where(totals > 0, (counts[:, :, 0] + counts[:, :, 2] / 2) / np.maximum(totals, 1), np.nan)
    return strengths - strengths[:, :1], rates[0], rates[1:]


def _resample(counts: Floats, num_resamples: int) -> Floats:
    """(C, P, 3) -> (B, P, 3): sums over as many clusters, drawn with replacement; the draws are seeded by the figures."""
    seed = int.from_bytes(hashlib.sha256(counts.astype("<f8").tobytes()).digest()[:16], "little")
    num_clusters = len(counts)
    drawn = np.random.default_rng(seed).multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters), num_resamples)
    sums: Floats = np.einsum("bc,cpo->bpo", drawn.astype(np.float64), counts)
    return sums


def _interval(draws: Floats, num_clusters: int) -> tuple[float, float]:
    tail = expanded_tail((1 - CONFIDENCE) / 2, num_clusters)
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _rate_interval(rate: float, draws: Floats, num_clusters: int) -> tuple[float, float]:
    """Where all prompts agree, a bootstrap would claim certainty: then as of so many single votes."""
    low, high = _interval(draws, num_clusters)
    return (low, high) if high - low > 1e-9 else wilson(rate * num_clusters, num_clusters)


def _preferences(table: Tally, arms: Sequence[str], rates: Floats, draws: Floats) -> tuple[Preference, ...]:
    found = []
    for number, (arm, against) in enumerate(table.pairs):
        wins, losses, ties, both_bad = (int(count) for count in table.counts[:, number].sum(axis=0))
        num_clusters = int((table.counts[:, number, :3].sum(axis=1) > 0).sum())
        rate = float(rates[number])
        low, high = _rate_interval(rate, draws[:, number], num_clusters) if num_clusters > 1 else (rate, rate)
        verdict = judge(low, high) if num_clusters >= MIN_CLUSTERS else "unclear"
        is_open = verdict == "unclear" and num_clusters >= MIN_CLUSTERS
        found.append(
            Preference(
                arm=arms[arm],
                against=arms[against],
                num_wins=wins,
                num_losses=losses,
                num_ties=ties,
                num_both_bad=both_bad,
                win_rate=rate,
                low=low,
                high=high,
                confidence=CONFIDENCE if num_clusters > 1 else 0.0,
                num_clusters=num_clusters,
                verdict=verdict,
                num_more_votes=num_more_votes(rate, (high - low) / (2 * Z), wins + losses + ties) if is_open else None,
            )
        )
    return tuple(found)


def judge(low: float, high: float) -> Verdict:
    """What an interval of a win rate says."""
    if low > 0.5:
        return "better"
    if high < 0.5:
        return "worse"
    return "same" if low >= 0.5 - SAME_MARGIN and high <= 0.5 + SAME_MARGIN else "unclear"


def num_more_votes(rate: float, error: float, num_votes: int) -> int | None:
    """So many more votes, on new prompts, tell a difference as large as this one with a chance of `POWER`; None: hopelessly many.

    `error` is the rate's standard error, which shrinks with the square root of the number of prompts, hence of votes.
    """
    wanted = abs(rate - 0.5) / (Z + NormalDist().inv_cdf(POWER))
    if wanted * math.sqrt(MAX_MORE_VOTES) <= error * math.sqrt(num_votes):
        return None
    return max(1, math.ceil(num_votes * ((error / wanted) ** 2 - 1)))


def _strengths(table: Tally, arms: Sequence[str], draws: Floats) -> tuple[Strength, ...]:
    reached = _reached(table.pairs)
    found = []
    for place, arm in enumerate(arms):
        if place == 0:
            found.append(Strength(arm=arm, value=0.0, low=0.0, high=0.0))
        elif place not in reached or len(table.counts) < 2:
            found.append(Strength(arm=arm, value=_bounded(draws[0, place]) if place in reached else None, low=None, high=None))
        else:
            low, high = _interval(draws[1:, place], len(table.counts))
            found.append(Strength(arm=arm, value=_bounded(draws[0, place]), low=_bounded(low), high=_bounded(high)))
    return tuple(found)


def _bounded(value: float) -> float | None:
    return float(value) if abs(value) < MAX_STRENGTH else None


def _reached(pairs: Sequence[tuple[int, int]]) -> set[int]:
    """The arms that votes tie to the first one, directly or through others."""
    reached = {0}
    for _ in pairs:
        reached |= {arm for pair in pairs if reached & set(pair) for arm in pair}
    return reached


def _consistency(answers: Sequence[Answers]) -> tuple[Consistency, ...]:
    found = []
    for voter in dict.fromkeys(one.first.voter for one in answers):
        own = [one for one in answers if one.first.voter == voter]
        repeats = [later.chosen == one.first.chosen for one in own for later in one.later]
        low, high = wilson(sum(repeats), len(repeats))
        found.append(
            Consistency(voter=voter, num_votes=len(own), num_repeats=len(repeats), num_consistent=sum(repeats), low=low, high=high)
        )
    return tuple(found)


def wilson(num_hits: float, num_trials: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson, 1927); all of [0, 1] without trials."""
    if not num_trials:
        return 0.0, 1.0
    share, weight = num_hits / num_trials, Z * Z / num_trials
    middle = (share + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * math.sqrt(share * (1 - share) / num_trials + weight / (4 * num_trials))
    return max(0.0, middle - half), min(1.0, middle + half)
