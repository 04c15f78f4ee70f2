"""What a voter is shown, in which order and places: a pure function of the round's seed, the voter and the pictures.

Chance is drawn by hashing what it decides about, so that it does not depend on how much was drawn before, nor on a version of Python.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from daemon.protocol.errors import NegError
from daemon.protocol.results import ComparedBlock, ComparedCell
from daemon.protocol.voting import RoundSpec

T = TypeVar("T")
REPEAT_GAP = 6
"""So many other questions stand at least between a question and its repeat, where the round is long enough."""


@dataclass(frozen=True)
class Ballot:
    """One question with its answer key: `arms[i]` painted `cells[i]`, from left to right. `repeats`: the number of the first showing."""

    number: int
    prompt: str
    seed: int
    arms: tuple[str, ...]
    cells: tuple[ComparedCell, ...]
    repeats: int | None = None


def plan_round(spec: RoundSpec, voter: str, names: Sequence[str], blocks: Sequence[ComparedBlock]) -> tuple[Ballot, ...]:
    """The ballots in order. `names` are all arms of the comparison, in the order of the blocks' cells.

    Round by round through the blocks: each is shown with one pair (or triple) of arms before any is shown with its second, and the pairs
    take turns, so that a round that is closed early has judged all pairs on many prompts. Pictures with equal bytes are never set
    against each other. Raises `NegError` `invalid` (arms that are not there, too few of them), `not_found` (no two pictures differ).
    """
    chance = Chance(spec.seed or 0, voter)
    groups = chance.shuffled("groups", itertools.combinations(_arms(spec, names), spec.num_shown))
    order = chance.shuffled("blocks", blocks, about=lambda block: (block.prompt, block.seed))
    turns = ((block, groups[(place + turn) % len(groups)]) for turn in range(len(groups)) for place, block in enumerate(order))
    shown = [_ballot(chance, block, group, names) for block, group in turns]
    ballots = [ballot for ballot in shown if ballot is not None][: spec.num_trials]
    if not ballots:
        raise NegError("not_found", "No two pictures of this comparison differ: there is nothing to vote on.", "Choose other arms.")
    return _with_repeats(chance, ballots, round(spec.repeat_share * len(ballots)))


class Chance:
    """Draws for one round."""

    def __init__(self, seed: int, voter: str) -> None:
        self._root = f"{seed}\0{voter}"

    def draw(self, *about: object) -> float:
        """A number in [0, 1) that belongs to `about`."""
        text = "\0".join((self._root, *map(repr, about)))
        return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:7], "big") / 2**56

    def shuffled(self, what: str, items: Iterable[T], about: Callable[[T], object] = repr) -> list[T]:
        """The items in an order of chance; `about` tells what of an item decides."""
        return sorted(items, key=lambda item: self.draw(what, about(item)))


def _arms(spec: RoundSpec, names: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in spec.arms if name not in names]
    if unknown:
        raise NegError("invalid", f"There is no arm {unknown[0]!r} in this comparison.", f"It has {', '.join(names)}.")
    chosen = tuple(name for name in names if not spec.arms or name in spec.arms)
    if len(chosen) < spec.num_shown:
        raise NegError("invalid", f"{spec.num_shown} pictures at once need as many arms; there are {len(chosen)}.", "Name more arms.")
    return chosen


def _ballot(chance: Chance, block: ComparedBlock, group: Sequence[str], names: Sequence[str]) -> Ballot | None:
    """None where two of the pictures are the same."""
    cells = {name: block.cells[names.index(name)] for name in group}
    if len({cell.image.sha256 for cell in cells.values()}) < len(cells):
        return None
    arms = tuple(chance.shuffled("places", group, about=lambda name: (block.prompt, block.seed, tuple(group), name)))
    return Ballot(0, block.prompt, block.seed, arms, tuple(cells[name] for name in arms))


def _with_repeats(chance: Chance, ballots: Sequence[Ballot], num_repeats: int) -> tuple[Ballot, ...]:
    """Number the ballots, some of them standing again later with their pictures in reversed order."""
    count = len(ballots)
    early = chance.shuffled("repeats", range(max(count - REPEAT_GAP, min(count, num_repeats))))
    places = [(float(place), ballot, False) for place, ballot in enumerate(ballots)]
    for place in early[:num_repeats]:
        first = place + REPEAT_GAP + 0.5
        again = first + chance.draw("again", place) * max(0.0, count - first)
        swapped = replace(ballots[place], arms=ballots[place].arms[::-1], cells=ballots[place].cells[::-1])
        places.append((again, swapped, True))
    places.sort(key=lambda one: one[0])
    numbers: dict[tuple[str, int, frozenset[str]], int] = {}
    planned = []
    for number, (_, ballot, is_repeat) in enumerate(places):
        key = (ballot.prompt, ballot.seed, frozenset(ballot.arms))
        planned.append(replace(ballot, number=number, repeats=numbers[key] if is_repeat else None))
        numbers.setdefault(key, number)
    return tuple(planned)
