"""Blind votes: how a round is set up, what a voter may say, and what came of it. No struct here joins an arm to a picture."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from daemon.protocol.fields import Count, Name, Prompt, Seed, Spec

Choice = Literal["first", "second", "third", "tie", "both_bad", "skip"]
"""A picture by its place from the left; `both_bad`: none of them is good; `skip`: no opinion, counts as nothing."""
Verdict = Literal["better", "worse", "same", "unclear"]
RoundId = Annotated[str, Meta(pattern=r"^[0-9a-f]{12}\Z")]


class RoundSpec(Spec, frozen=True, kw_only=True):
    """What one voter is shown of one comparison. The same spec, voter and pictures give the same pictures in the same order."""

    arms: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    """Which arms are judged, two at least; empty: all of them."""
    num_shown: Literal[2, 3] = 2
    """Pictures of one block at once."""
    num_trials: Count | None = None
    """So many questions, repeats not counted; None: every block with every pair (or triple) of arms."""
    repeat_share: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.1
    """The share of the questions that is asked again later, the pictures in other places: how far the voter agrees with themself."""
    seed: Seed | None = None
    """Of the order and the places. None: how many rounds of this voter there were before."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One question: which of these pictures is best? Whose they are is not told; nor whether it is asked again."""

    number: int
    """Its place in the round, from 0."""
    prompt: Prompt
    paths: tuple[str, ...]
    """The pictures from left to right, relative to the session folder; their names are ids of requests."""
    width: int
    height: int


class RoundRow(msgspec.Struct, frozen=True, kw_only=True):
    """A round at a glance."""

    id: str
    voter: str
    num_trials: int
    num_voted: int
    """Trials with an answer, `skip` included."""
    is_closed: bool
    opened: float
    """Unix seconds."""


class Strength(msgspec.Struct, frozen=True, kw_only=True):
    """An arm on the Bradley-Terry scale: log odds of being preferred to the baseline, ties left out."""

    arm: str
    value: float | None
    """None: beyond every measure (it won, or lost, practically every vote), or never compared with the others."""
    low: float | None
    """None: no bound on this side."""
    high: float | None


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """How often one arm was preferred to another when both were shown. A tie is half a win for each."""

    arm: str
    against: str
    num_wins: int
    num_losses: int
    num_ties: int
    """Those where both were bad included."""
    num_both_bad: int
    win_rate: float
    low: float
    high: float
    confidence: float
    """0: too little to make an interval; its ends are the win rate."""
    num_clusters: int
    """Prompts (of one prompt: seeds) that the votes are about: votes of one belong together."""
    verdict: Verdict
    """`better`, `worse`: the interval leaves 1/2 out. `same`: it holds 1/2 and nothing beyond 0.4 to 0.6. Else `unclear`."""
    num_more_votes: int | None = None
    """With so many more, on new prompts, a difference as large as this one is told with a chance of 80 %. None: clear, or hopeless."""


class Consistency(msgspec.Struct, frozen=True, kw_only=True):
    """How far one voter agrees with themself: questions asked again with the pictures in other places."""

    voter: str
    num_votes: int
    num_repeats: int
    num_consistent: int
    low: float
    """95 % interval of the share (Wilson); 0 and 1 without repeats."""
    high: float


class VoteResults(msgspec.Struct, frozen=True, kw_only=True):
    """What the votes of a comparison's closed rounds say. A question asked again counts once; skipped ones do not count."""

    num_rounds: int
    num_votes: int
    num_skipped: int
    num_outdated: int
    """Votes about pictures that have been painted anew since; left out."""
    num_prompts: int
    tie_rate: float
    both_bad_rate: float
    """A part of `tie_rate`."""
    arms: tuple[str, ...]
    strengths: tuple[Strength, ...]
    preferences: tuple[Preference, ...]
    """The last arm (the target) first, each against every earlier one."""
    voters: tuple[Consistency, ...]
    verdict: str
    """In plain words; the placebo first."""


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """A vote of a closed round, with the names."""

    round_id: str
    voter: str
    time: float
    number: int
    prompt: Prompt
    seed: int
    arms: tuple[str, ...]
    """As they stood from left to right."""
    sha256s: tuple[str, ...]
    """Of the pictures' files."""
    choice: Choice
    chosen: str = ""
    """The arm, where one was chosen."""
    is_repeat: bool = False
