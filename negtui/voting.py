"""Blind votes in words: what a round asks, what came of it, votes as CSV. Pure: structs of the contract in, texts out."""

from __future__ import annotations

import csv
import getpass
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from daemon.protocol.errors import NegError
from daemon.protocol.fields import Name
from daemon.protocol.results import RoundAnswer, VotesAnswer
from daemon.protocol.voting import Choice, Preference, RoundRow, RoundSpec, Strength, Vote, VoteResults
from negtui.output import clean, quantity, table

CHOICES: tuple[Choice, ...] = ("first", "second", "third")
PLACES = {2: ("left", "right"), 3: ("left", "middle", "right")}
VOTER = "voter"


@dataclass(frozen=True)
class Voting:
    """What is to be voted on, and by whom. `spec` None: the voter's open round, or the form for a new one."""

    session: str
    comparison: str
    voter: str
    spec: RoundSpec | None = None


def default_voter() -> str:
    """The user's name, as far as it may name a voter."""
    try:
        return voter_name(getpass.getuser())
    except (OSError, KeyError, NegError):
        return VOTER


def voter_name(text: str) -> str:
    """`Ada L` -> `ada-l`. Raises `NegError` `invalid` where nothing is left."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.strip().lower()).strip("-._")[:63]
    try:
        return msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise NegError("invalid", f"{text!r} cannot name a voter.", "Use a-z 0-9 . _ -, a letter or digit first.") from None


def round_spec(fields: Mapping[str, str]) -> RoundSpec:
    """From what was written: `arms` (words), `num_shown`, `num_trials`, `repeat_share`, `seed`; empty: the default. Raises `NegError`."""
    values: dict[str, object] = {"arms": fields.get("arms", "").replace(",", " ").split()}
    kinds = {"num_shown": int, "num_trials": int, "repeat_share": float, "seed": int}
    for name, kind in kinds.items():
        text = fields.get(name, "").strip()
        try:
            values |= {name: kind(text)} if text else {}
        except ValueError:
            raise NegError("invalid", f"{name}: {text!r} is no number.", "Leave it empty for the default.") from None
    try:
        return msgspec.convert(values, RoundSpec)
    except msgspec.ValidationError as error:
        raise NegError("invalid", str(error).replace("$.", ""), "Leave it empty for the default.") from None


def open_row(answer: VotesAnswer, voter: str) -> RoundRow | None:
    """The round that this voter has open."""
    return next((row for row in answer.rounds if row.voter == voter and not row.is_closed), None)


def progress(answer: RoundAnswer) -> str:
    """`13 of 66`: which question is asked."""
    return f"{min(answer.round.num_voted + 1, answer.round.num_trials)} of {answer.round.num_trials}"


def rounds_lines(answer: VotesAnswer) -> list[str]:
    """Every round: whose, how far, whether it counts."""
    rows = [
        (row.voter, f"{row.num_voted} of {row.num_trials}", "closed" if row.is_closed else "open: not counted") for row in answer.rounds
    ]
    return table(("voter", "answered", "round"), rows, indent="  ") if rows else []


def result_lines(answer: VotesAnswer) -> list[str]:
    """The table of a comparison's closed rounds, at most 80 columns wide; the verdict first."""
    results = answer.results
    if results is None:
        return ["No round of votes is closed yet; only closed ones count."]
    return [
        clean(results.verdict),
        "",
        *_counts(results),
        "",
        *table(
            ("arm", "against", "wins", "losses", "ties", "win rate", "95 % interval", ""),
            map(_preference, results.preferences),
            right=RIGHT,
        ),
        "",
        "Bradley-Terry strength: log odds of being preferred to the first arm, ties left out",
        *table(("arm", "strength", "95 % interval"), map(_strength, results.strengths), indent="  "),
        "",
        *_voters(results),
    ]


RIGHT = frozenset({2, 3, 4, 5})


def csv_text(votes: Sequence[Vote]) -> str:
    """A line a vote, with a heading; lists are joined by blanks."""
    stream = io.StringIO()
    rows = csv.writer(stream)
    rows.writerow(Vote.__struct_fields__)
    for vote in votes:
        values = (getattr(vote, name) for name in Vote.__struct_fields__)
        rows.writerow(" ".join(value) if isinstance(value, tuple) else value for value in values)
    return stream.getvalue()


def _counts(results: VoteResults) -> list[str]:
    votes, prompts = quantity(results.num_votes, "vote"), quantity(results.num_prompts, "prompt")
    shares = f"{percent(results.tie_rate)} ties, {percent(results.both_bad_rate)} both bad among them"
    lines = [f"{votes} on {prompts} in {quantity(results.num_rounds, 'closed round')}: {shares}; {results.num_skipped} skipped."]
    if results.num_outdated:
        lines.append(f"{quantity(results.num_outdated, 'vote')} left out: about pictures that have been painted anew since.")
    return lines


def _preference(one: Preference) -> tuple[str, ...]:
    interval = f"[{percent(one.low)}, {percent(one.high)}]" if one.confidence else "-"
    counts = (str(one.num_wins), str(one.num_losses), str(one.num_ties))
    return (one.arm, one.against, *counts, percent(one.win_rate), interval, one.verdict)


def _strength(one: Strength) -> tuple[str, str, str]:
    if one.value is None and one.low is None and one.high is None:
        return one.arm, "-", "no bound: it wins or loses everything, or too little was asked"
    value = "-" if one.value is None else f"{one.value:+.2f}"
    low = "no bound" if one.low is None else f"{one.low:+.2f}"
    high = "no bound" if one.high is None else f"{one.high:+.2f}"
    return one.arm, value, "" if one.low == one.high == 0 else f"[{low}, {high}]"


def _voters(results: VoteResults) -> list[str]:
    lines = []
    for one in results.voters:
        same = "no question was asked again"
        if one.num_repeats:
            share, interval = percent(one.num_consistent / one.num_repeats), f"[{percent(one.low)}, {percent(one.high)}]"
            same = f"{one.num_consistent} of {one.num_repeats} asked again answered the same: {share} {interval}"
        lines.append(f"{one.voter}: {quantity(one.num_votes, 'vote')}; {same}.")
    return lines


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"
