"""Choosing among bad pictures: filters, order, balance per keyword, near-duplicates, marks that can be undone.

Pure: records and pictures in, records and numbers out. Knows neither the daemon nor the screen.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

import msgspec
from PIL import Image

from daemon.protocol.errors import NegError
from daemon.protocol.events import Mark
from daemon.protocol.fields import Tag
from daemon.protocol.specs import ImageRecord, Status
from negtui.output import quantity

STATUSES: tuple[Status, ...] = ("undecided", "keep", "reject")
READINGS = {"flaw_probability": 1, "badness": 1, "aesthetic": -1}
"""What may be read in a picture that says how bad it is, the most telling first; -1: the lower, the worse."""
NEAR_BITS = 6
"""Difference hashes of 64 bits this close are near-duplicates: a slightly moved or recompressed picture differs by 0 to 6."""
HASH_SIDE = 8

Order = Literal["as painted", "not bad enough first", "newest first"]
ORDERS: tuple[Order, ...] = get_args(Order)

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Third:
    """Those of the pictures that a scorer read whose badness is in a range, ends included."""

    words: str
    least: float
    most: float

    def holds(self, record: ImageRecord) -> bool:
        """Whether a picture is among them."""
        found = badness(record)
        return found is not None and self.least <= found <= self.most


@dataclass(frozen=True)
class Filter:
    """Which pictures to look at; None or empty lets all pass."""

    keyword: str | None = None
    guidance_scale: float | None = None
    status: Status | None = None
    tag: str | None = None
    text: str = ""
    """Words that must all stand in a picture's prompt, keyword, tags or id."""
    score: Third | None = None

    def admits(self, record: ImageRecord) -> bool:
        """Whether a picture passes."""
        return (
            self.keyword in (None, record.keyword)
            and self.guidance_scale in (None, record.request.guidance_scale)
            and self.status in (None, record.status)
            and (self.tag is None or self.tag in record.tags)
            and (self.score is None or self.score.holds(record))
            and all(word in _words(record) for word in self.text.lower().split())
        )

    def in_words(self) -> str:
        """`keyword blurry, guidance 8, keep`; empty where all pass."""
        guidance = None if self.guidance_scale is None else f"guidance {self.guidance_scale:g}"
        keyword = self.keyword and f"keyword {self.keyword}"
        third = self.score and self.score.words
        parts = (keyword, guidance, self.status, self.tag and f"tag {self.tag}", third, self.text and f"text {self.text}")
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Balance:
    """How one keyword's pictures stand."""

    keyword: str
    num_keep: int
    num_undecided: int
    num_reject: int

    @property
    def num_used(self) -> int:
        """Pictures a training would take: all that are not rejected."""
        return self.num_keep + self.num_undecided


@dataclass(frozen=True)
class Decision:
    """What is set on some pictures: a status (None: as it is), tags put on and taken off."""

    ids: tuple[str, ...]
    status: Status | None = None
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()

    def mark(self, record: ImageRecord) -> Mark:
        """How one of its pictures is marked afterwards."""
        own = {tag for tag in record.tags if tag not in self.remove_tags} | set(self.add_tags)
        return Mark(id=record.id, status=self.status or record.status, tags=tuple(sorted(own)))

    def in_words(self) -> str:
        """`keep: 2 pictures`, `tag hands: 1 picture`."""
        tagged = (*(f"tag {tag}" for tag in self.add_tags), *(f"untag {tag}" for tag in self.remove_tags))
        what = ", ".join((*([self.status] if self.status else []), *tagged))
        return f"{what}: {quantity(len(self.ids), 'picture')}"


@dataclass(frozen=True)
class Step:
    """One thing that was decided: the marks before and after it, whole."""

    words: str
    before: tuple[Mark, ...]
    after: tuple[Mark, ...]


@dataclass
class History:
    """What was decided, so that it can be taken back and done again."""

    _done: list[Step] = field(default_factory=list)
    _undone: list[Step] = field(default_factory=list)

    def did(self, step: Step) -> None:
        """Remember; what was undone before it cannot be done again."""
        self._done.append(step)
        self._undone.clear()

    def forget(self, step: Step) -> None:
        """It was refused: it was never done."""
        if step in self._done:
            self._done.remove(step)

    def undo(self) -> Step | None:
        """The last step: its `before` is to be restored. None where there is none."""
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        return self._undone[-1]

    def redo(self) -> Step | None:
        """The step last undone: its `after` is to be restored."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        return self._done[-1]


def step(decision: Decision, records: Mapping[str, ImageRecord]) -> Step:
    """What a decision does to the pictures that are there; those that it leaves as they are do not count."""
    found = [records[id] for id in decision.ids if id in records]
    pairs = [(mark_of(record), decision.mark(record)) for record in found]
    moved = [(before, after) for before, after in pairs if before != after]
    return Step(decision.in_words(), tuple(before for before, _ in moved), tuple(after for _, after in moved))


def mark_of(record: ImageRecord) -> Mark:
    return Mark(id=record.id, status=record.status, tags=record.tags)


def marked(records: Mapping[str, ImageRecord], marks: Iterable[Mark]) -> dict[str, ImageRecord]:
    """The records with these marks; marks of other pictures are passed over."""
    after = dict(records)
    for mark in marks:
        if mark.id in after:
            after[mark.id] = msgspec.structs.replace(after[mark.id], status=mark.status, tags=mark.tags)
    return after


def read_tags(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`hands -blur` -> tags to put on (`hands`) and to take off (`blur`). Raises `NegError` `invalid` where a word cannot be a tag."""
    add: list[str] = []
    remove: list[str] = []
    for word in text.replace(",", " ").lower().split():
        tag = word.removeprefix("-")
        try:
            msgspec.convert(tag, Tag)
        except msgspec.ValidationError:
            raise NegError(
                "invalid", f"{word!r} is no tag.", "Use a-z 0-9 . _ -, a letter or digit first, at most 32 characters."
            ) from None
        (remove if word.startswith("-") else add).append(tag)
    return tuple(dict.fromkeys(add)), tuple(dict.fromkeys(remove))


def reading(record: ImageRecord) -> tuple[str, float] | None:
    """The most telling of what was read in a picture, by name; None where nothing was."""
    return next(((name, record.values[name]) for name in READINGS if name in record.values), None)


def badness(record: ImageRecord) -> float | None:
    """How bad a picture is by that reading: the higher, the worse."""
    found = reading(record)
    return None if found is None else READINGS[found[0]] * found[1]


def arrange(records: Iterable[ImageRecord], shown: Filter, order: Order = ORDERS[0]) -> list[ImageRecord]:
    """Those that pass `shown`, in an order; the least bad come first only where scores exist (those without behind)."""
    passed = list(records) if shown == Filter() else [record for record in records if shown.admits(record)]
    if order != "not bad enough first":
        return passed if order == "as painted" else passed[::-1]
    scores = {record.id: badness(record) for record in passed}
    if not any(score is not None for score in scores.values()):
        return passed
    return sorted(passed, key=lambda record: (scores[record.id] is None, scores[record.id] or 0.0))


def balance(records: Iterable[ImageRecord]) -> list[Balance]:
    """Per keyword, in the order they first came; pictures without one stand under an empty keyword."""
    counts: dict[str, dict[str, int]] = {}
    for record in records:
        own = counts.setdefault(record.keyword or "", dict.fromkeys(STATUSES, 0))
        own[record.status] += 1
    return [Balance(keyword, own["keep"], own["undecided"], own["reject"]) for keyword, own in counts.items()]


def cycle(choices: Sequence[T], current: T | None) -> T | None:
    """The choice after `current`, None (all) standing before the first and behind the last."""
    ring: list[T | None] = [None, *choices]
    return ring[(ring.index(current) + 1) % len(ring)] if current in ring else None


def keywords(records: Iterable[ImageRecord]) -> list[str]:
    return list(dict.fromkeys(record.keyword for record in records if record.keyword))


def guidance_scales(records: Iterable[ImageRecord]) -> list[float]:
    return sorted({record.request.guidance_scale for record in records})


def tags(records: Iterable[ImageRecord]) -> list[str]:
    return sorted({tag for record in records for tag in record.tags})


def thirds(records: Iterable[ImageRecord]) -> list[Third]:
    """The pictures that bear a reading in three ranges, the least bad first; fewer where there are fewer than three."""
    found = sorted(value for value in map(badness, records) if value is not None)
    cuts = [len(found) * number // 3 for number in range(4)]
    parts = zip(("least bad third", "middle third", "worst third"), cuts[:3], cuts[1:], strict=True)
    return [Third(words, found[begin], found[end - 1]) for words, begin, end in parts if begin < end]


def difference_hash(picture: Image.Image) -> int:
    """64 bits: whether each point of a 9 x 8 grey miniature is brighter than its right neighbour (dHash)."""
    small = picture.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX)
    grey = small.tobytes()
    bits = 0
    for row in range(HASH_SIDE):
        start = row * (HASH_SIDE + 1)
        for column in range(HASH_SIDE):
            bits = bits << 1 | (grey[start + column] > grey[start + column + 1])
    return bits


def near_duplicates(hashes: Mapping[str, int], max_bits: int = NEAR_BITS) -> list[tuple[str, ...]]:
    """Groups of two and more pictures, the largest first: each picture is at most `max_bits` away from the first of its group.

    A hash is cut into `max_bits + 1` bands. Of a close pair at least one band is equal, so a picture is compared only to those firsts
    that share a band with it.
    """
    groups: dict[str, list[str]] = {}
    firsts: dict[tuple[int, int], list[str]] = {}
    for id, value in hashes.items():
        bands = _bands(value, max_bits + 1)
        near = (first for band in bands for first in firsts.get(band, ()) if (value ^ hashes[first]).bit_count() <= max_bits)
        first = next(near, None)
        if first is None:
            groups[id] = [id]
            for band in bands:
                firsts.setdefault(band, []).append(id)
        else:
            groups[first].append(id)
    return sorted((tuple(ids) for ids in groups.values() if len(ids) > 1), key=len, reverse=True)


def _bands(value: int, number: int) -> list[tuple[int, int]]:
    """A hash's bits in `number` pieces, each with its place."""
    width = -(-(HASH_SIDE * HASH_SIDE) // number)
    return [(band, value >> band * width & (1 << width) - 1) for band in range(number)]


def _words(record: ImageRecord) -> str:
    return " ".join((record.request.prompt, record.keyword or "", record.id, *record.tags)).lower()
