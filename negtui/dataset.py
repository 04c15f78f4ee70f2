"""The pictures of one session as a screen holds them: what is shown, selected and marked. Pure but for the records themselves.

Knows neither the daemon nor Textual.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from daemon.protocol.events import ImagesFolder, Mark
from daemon.protocol.specs import ImageRecord, Status
from negtui.curation import (
    ORDERS,
    STATUSES,
    Balance,
    Decision,
    Filter,
    History,
    Order,
    Step,
    arrange,
    cycle,
    guidance_scales,
    keywords,
    mark_of,
    marked,
    reading,
    step,
    tags,
    thirds,
)
from negtui.output import clean, quantity

SIGNS: dict[Status, str] = {"keep": "+", "reject": "x", "undecided": " "}
CHOICES: dict[str, Callable[[Iterable[ImageRecord]], Sequence[Hashable]]] = {
    "keyword": keywords,
    "guidance_scale": guidance_scales,
    "status": lambda records: STATUSES,
    "tag": tags,
    "score": thirds,
}
"""What the fields of a filter may be."""
BAR_WIDTH = 10


@dataclass
class Gallery:
    """The pictures of one session. `shown` follows `filter`, the order and `group`."""

    session: str = ""
    folder: ImagesFolder = "dataset"
    num_unlisted: int = 0
    """Pictures of the folder that no line of the manifest speaks of, as a person puts them there: they are not shown."""
    records: dict[str, ImageRecord] = field(default_factory=dict)
    filter: Filter = field(default_factory=Filter)
    order: Order = ORDERS[0]
    group: tuple[str, ...] = ()
    """Only these: a group of near-duplicates."""
    selected: set[str] = field(default_factory=set)
    history: History = field(default_factory=History)
    shown: list[ImageRecord] = field(default_factory=list)

    def arrange(self) -> None:
        """Bring `shown` up to date."""
        if self.group:
            self.shown = [self.records[id] for id in self.group if id in self.records]
        else:
            self.shown = arrange(self.records.values(), self.filter, self.order)

    def take(self, records: Iterable[ImageRecord], marks: Mapping[str, Mark] | None = None) -> None:
        """Add pictures, or replace them; `marks` that were told since count more than what the records say."""
        self.records.update((record.id, record) for record in records)
        if marks:
            self.records = marked(self.records, marks.values())

    def decide(self, decision: Decision) -> Step:
        """Mark at once; what it changed is remembered."""
        done = step(decision, self.records)
        if done.after:
            self.records = marked(self.records, done.after)
            self.history.did(done)
        return done

    def is_news(self, mark: Mark) -> bool:
        """Whether one of its pictures is marked otherwise here."""
        record = self.records.get(mark.id)
        return record is not None and mark_of(record) != mark

    def restore(self, marks: Sequence[Mark]) -> None:
        self.records = marked(self.records, marks)

    @property
    def has_scores(self) -> bool:
        """Whether any picture bears a reading of how bad it is."""
        return any(reading(record) is not None for record in self.records.values())

    def next_order(self) -> None:
        """Another order, round and round; by badness only where there are scores."""
        orders = [order for order in ORDERS if self.has_scores or order != "not bad enough first"]
        at = orders.index(self.order) if self.order in orders else 0
        self.order = orders[(at + 1) % len(orders)]

    def next_filter(self, name: str) -> bool:
        """The next keyword, guidance scale, status, tag or third of the scores, then all again; False where no picture has one."""
        choices: Sequence[Hashable] = CHOICES[name](self.records.values())
        before = getattr(self.filter, name)
        changes: dict[str, Any] = {name: cycle(choices, before)}
        self.filter = replace(self.filter, **changes)
        return bool(choices) or before is not None

    def chosen(self, id: str | None) -> tuple[str, ...]:
        """What a mark applies to: the selected pictures in order, or the one at the cursor."""
        if self.selected:
            return tuple(record.id for record in self.records.values() if record.id in self.selected)
        return (id,) if id is not None else ()

    def heading(self) -> str:
        """`toy: 36 pictures, 2 keep, 1 reject, 33 undecided. 12 shown: keyword blurry. 3 selected.`"""
        count = dict.fromkeys(STATUSES, 0)
        for record in self.records.values():
            count[record.status] += 1
        what = "picture" if self.folder == "dataset" else "class image"
        parts = [f"{self.session}: {quantity(len(self.records), what)}"]
        parts[0] += "".join(f", {count[status]} {status}" for status in ("keep", "reject", "undecided") if count[status]) + "."
        if self.folder == "class_images":
            parts.append("C: the dataset.")
        if self.filter != Filter() and not self.group:
            parts.append(f"{len(self.shown)} shown: {self.filter.in_words()}.")
        if self.selected:
            parts.append(f"{len(self.selected)} selected.")
        if self.num_unlisted:
            parts.append(f"{self.num_unlisted} more without settings, not shown.")
        if not self.group and (self.has_scores or self.order == "newest first"):
            parts.append(f"{self.order.capitalize()}.")
        return clean(" ".join(parts))


def sign(record: ImageRecord, is_selected: bool) -> str:
    """What stands at a picture: `*` selected, `+` keep, `x` reject."""
    return f"{'*' if is_selected else ''}{SIGNS[record.status]}".strip()


def short_caption(record: ImageRecord) -> str:
    """`blurry 8 s0`; for a place of few cells."""
    found = reading(record)
    tail = "" if found is None else f" {found[1]:.2f}"
    return clean(f"{record.keyword or record.id[:8]} {record.request.guidance_scale:g} s{record.request.seed}{tail}")


def caption(record: ImageRecord) -> list[str]:
    """Two lines: how it was painted and marked, and its prompt."""
    request = record.request
    weight = "" if record.weight is None else f" {record.weight}"
    found = reading(record)
    parts = [
        f"{record.keyword or 'no keyword'}{weight}",
        f"guidance {request.guidance_scale:g}",
        f"seed {request.seed}",
        record.status,
        *([" ".join(record.tags)] if record.tags else []),
        *([f"{found[0]} {found[1]:.2f}"] if found is not None else []),
        record.path,
    ]
    return [" ".join(clean(text).split()) for text in ("  ".join(parts), request.prompt)]


def prompt_with_seed(record: ImageRecord) -> str:
    """What is copied: enough to paint it again elsewhere."""
    request = record.request
    lines = [request.prompt]
    if request.negative_prompt is not None:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    size = f"{request.width}x{request.height}"
    lines.append(f"Steps: {request.num_inference_steps}, CFG scale: {request.guidance_scale:g}, Seed: {request.seed}, Size: {size}")
    return clean("\n".join(lines))


def balance_lines(balances: Sequence[Balance], width: int = 39) -> list[str]:
    """A line a keyword: name, a bar of kept `#`, undecided `-` and rejected `x`, and how many a training would use."""
    most = max((one.num_used + one.num_reject for one in balances), default=1)
    fewest = min((one.num_used for one in balances), default=0)
    is_even = len({one.num_used for one in balances}) <= 1
    name_width = max(4, width - BAR_WIDTH - 15)
    lines = [f"{'keyword':{name_width}.{name_width}} {'':{BAR_WIDTH}} used  keep"]
    for one in balances:
        counts = (("#", one.num_keep), ("-", one.num_undecided), ("x", one.num_reject))
        bar = "".join(sign * round(number * BAR_WIDTH / most) for sign, number in counts)
        few = "  <" if one.num_used == fewest and not is_even else ""
        name = " ".join(clean(one.keyword or "(none)").split())
        lines.append(f"{name:{name_width}.{name_width}} {bar:{BAR_WIDTH}.{BAR_WIDTH}} {one.num_used:4} {one.num_keep:5}{few}")
    lines += ["", "# keep  - undecided  x reject", "used: all that are not rejected", *([] if is_even else ["<: the fewest"])]
    return lines
