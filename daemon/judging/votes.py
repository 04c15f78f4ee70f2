"""The votes of a comparison: `votes.jsonl`, a line what happened, appended and never changed. It tells all: the database can be lost.

A vote's line names prompt, seed, arms and pictures, so that it counts for what it was about, whatever is painted later. Torch-free.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from daemon.manifest import append_line
from daemon.protocol.voting import Choice, RoundRow, RoundSpec, Vote

VOTES_FILE = "votes.jsonl"
CHOICES: tuple[Choice, ...] = ("first", "second", "third")


class _Line(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type"):
    """`time`: Unix seconds."""

    round_id: str
    time: float


class Opened(_Line, frozen=True, kw_only=True):
    """A round began. `pictures_sha256` is of all pictures it may show: with others it cannot go on."""

    voter: str
    spec: RoundSpec
    arms: tuple[str, ...]
    """Of the comparison, in its order."""
    pictures_sha256: str
    num_trials: int


class Voted(_Line, frozen=True, kw_only=True):
    """An answer to the trial `number`."""

    voter: str
    number: int
    prompt: str
    seed: int
    arms: tuple[str, ...]
    sha256s: tuple[str, ...]
    choice: Choice
    chosen: str
    is_repeat: bool = False


class Undone(_Line, frozen=True, kw_only=True):
    """The answer to the trial `number` was taken back."""

    number: int


class Closed(_Line, frozen=True, kw_only=True):
    """The names may be told; nothing more is added."""


Line = Opened | Voted | Undone | Closed
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


@dataclass
class Round:
    """A round as its lines tell."""

    opened: Opened
    votes: dict[int, Voted] = field(default_factory=dict)
    """By number, those that stand."""
    is_closed: bool = False

    @property
    def id(self) -> str:
        return self.opened.round_id

    @property
    def row(self) -> RoundRow:
        """It at a glance."""
        return RoundRow(
            id=self.id,
            voter=self.opened.voter,
            num_trials=self.opened.num_trials,
            num_voted=len(self.votes),
            is_closed=self.is_closed,
            opened=self.opened.time,
        )


def read_rounds(folder: Path) -> dict[str, Round]:
    """The rounds in a comparison's folder by id, oldest first. No file: none. A line that cannot be read is left out."""
    try:
        content = (folder / VOTES_FILE).read_bytes()
    except FileNotFoundError:
        return {}
    return fold(_lines(content))


def append(folder: Path, line: Line) -> None:
    """Durable when this returns. Raises `NegError` `disk_full`."""
    append_line(folder / VOTES_FILE, msgspec.json.encode(line))


def fold(lines: Iterable[Line]) -> dict[str, Round]:
    """What stands after these lines. What is told of a round that never began, or behind its end, counts for nothing."""
    rounds: dict[str, Round] = {}
    for line in lines:
        if isinstance(line, Opened):
            rounds.setdefault(line.round_id, Round(line))
            continue
        found = rounds.get(line.round_id)
        if found is None or found.is_closed:
            continue
        match line:
            case Voted():
                found.votes[line.number] = line
            case Undone():
                found.votes.pop(line.number, None)
            case Closed():
                found.is_closed = True
    return rounds


def count_votes(folder: Path) -> int:
    """Answers that stand, those of open rounds too."""
    return sum(len(found.votes) for found in read_rounds(folder).values())


def read_votes(folder: Path) -> tuple[Vote, ...]:
    """The votes of a comparison's closed rounds, round by round in the order of the questions."""
    return tuple(_cast(vote) for found in read_rounds(folder).values() if found.is_closed for _, vote in sorted(found.votes.items()))


def _cast(vote: Voted) -> Vote:
    return Vote(**{name: getattr(vote, name) for name in Vote.__struct_fields__})


def _lines(content: bytes) -> Iterable[Line]:
    for text in content.split(b"\n"):
        try:
            yield _decoder.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
