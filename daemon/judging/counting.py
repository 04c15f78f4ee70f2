"""From votes to counts: which arm was preferred to which, by prompt. Pure.

Of the same pictures shown twice to the same voter the first answer counts; the later ones tell how far the voter agrees with themself.
A choice among three is taken apart into pairs: the chosen one beats each of the others, and nothing is said about those two. That
assumes that a third picture changes nothing about the preference between two (Luce, 1959); pairs of one vote stay in one cluster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from daemon.protocol.voting import Vote

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """`counts[c, p]`: in cluster c (prompt; of one prompt: seed), of the pair p: first preferred, second, neither, of those both bad."""

    pairs: tuple[tuple[int, int], ...]
    counts: Floats
    """(C, P, 4)"""


@dataclass
class Answers:
    """What one voter said about the same pictures: first, and when they were asked again."""

    first: Vote
    later: list[Vote] = field(default_factory=list)


def answered(votes: Iterable[Vote]) -> list[Answers]:
    """All votes but the skipped ones, in the order given, those on the same pictures by the same voter together."""
    found: dict[tuple[str, str, int, frozenset[str]], Answers] = {}
    for vote in votes:
        if vote.choice == "skip":
            continue
        key = (vote.voter, vote.prompt, vote.seed, frozenset(vote.sha256s))
        if key in found:
            found[key].later.append(vote)
        else:
            found[key] = Answers(vote)
    return list(found.values())


def tally(votes: Sequence[Vote], arms: Sequence[str]) -> Tally:
    """Counts of every pair of `arms` that was shown together; of a pair, the later arm is the first. Votes with other arms are left out."""
    places = {name: place for place, name in enumerate(arms)}
    votes = [vote for vote in votes if all(name in places for name in vote.arms)]
    clusters = _clusters(votes)
    counts: defaultdict[tuple[int, int], Floats] = defaultdict(lambda: np.zeros((len(set(clusters)), 4)))
    for vote, cluster in zip(votes, clusters, strict=True):
        for one, other, outcome in _pairs(vote):
            later, earlier = max(places[one], places[other]), min(places[one], places[other])
            is_swapped = outcome < 2 and places[one] < places[other]
            counts[later, earlier][cluster, 1 - outcome if is_swapped else outcome] += 1
            counts[later, earlier][cluster, 3] += vote.choice == "both_bad"
    pairs = tuple(sorted(counts, key=lambda pair: (-pair[0], pair[1])))
    empty = np.zeros((len(set(clusters)), 0, 4))
    return Tally(pairs, np.stack([counts[pair] for pair in pairs], axis=1) if pairs else empty)


def _clusters(votes: Sequence[Vote]) -> list[int]:
    """The number of each vote's prompt; where there is one prompt only, of its seed."""
    is_one = len({vote.prompt for vote in votes}) == 1
    keys = [str(vote.seed) if is_one else vote.prompt for vote in votes]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [numbers[key] for key in keys]


def _pairs(vote: Vote) -> list[tuple[str, str, int]]:
    """(arm, other arm, outcome: 0 the first one is preferred, 2 neither)."""
    if vote.chosen:
        return [(vote.chosen, other, 0) for other in vote.arms if other != vote.chosen]
    return [(one, other, 2) for place, one in enumerate(vote.arms) for other in vote.arms[place + 1 :]]
