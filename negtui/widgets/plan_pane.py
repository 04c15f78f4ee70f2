"""A synthesis as lines to fill in: keywords, weights, guidance, seeds; beside it the count, time and disk it will take.

Knows the spec and what a plan answers, no daemon.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from daemon.protocol.commands import Plan
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SynthesisSpec
from negtui.keys import bindings
from negtui.output import clean, duration, quantity

LINES: tuple[tuple[str, str, str], ...] = (
    ("keywords", "keywords", "words for what makes a picture bad, between commas"),
    ("weights", "weights", "of the one keyword in front: ++++ or a number; several between commas"),
    ("guidance_scales", "guidance", "numbers from 0 to 100 between commas"),
    ("seeds", "seeds", "whole numbers between commas; 0-9 for ten"),
    ("num_inference_steps", "steps", "a whole number from 1 to 1000"),
    ("size", "size", "width x height, multiples of 8"),
    ("negative_prompt", "negative", "none"),
)
MAX_SEEDS = 10_000


@dataclass(frozen=True)
class Draft:
    """What the lines say: settings of `[synthesis]` as Python values."""

    values: dict[str, Any]

    @property
    def num_images(self) -> int:
        """How many pictures are asked for."""
        return len(self.values["keywords"]) * len(self.values["weights"]) * len(self.values["guidance_scales"]) * len(self.values["seeds"])

    def changes(self, spec: SynthesisSpec | None) -> dict[str, str]:
        """What differs from `spec`, as `ChangeSession` and `PlanSynthesis` take it."""
        return {f"synthesis.{name}": toml(value) for name, value in self.values.items() if spec is None or getattr(spec, name) != value}


def texts(spec: SynthesisSpec | None) -> dict[str, str]:
    """What stands in the lines for a spec."""
    if spec is None:
        return {
            "weights": "++++",
            "guidance_scales": "8, 9, 10, 11, 12, 13",
            "seeds": "0",
            "num_inference_steps": "50",
            "size": "1024 x 1024",
        }
    return {
        "keywords": ", ".join(spec.keywords),
        "weights": ", ".join(str(weight) for weight in spec.weights),
        "guidance_scales": ", ".join(f"{scale:g}" for scale in spec.guidance_scales),
        "seeds": _seeds_text(spec.seeds),
        "num_inference_steps": str(spec.num_inference_steps),
        "size": f"{spec.width} x {spec.height}",
        "negative_prompt": spec.negative_prompt or "",
    }


def read(lines: dict[str, str]) -> Draft:
    """The lines as settings. Raises `NegError` `invalid` that names the line and says what it may be."""
    width, _, height = lines["size"].lower().replace("×", "x").partition("x")
    values: dict[str, Any] = {
        "keywords": tuple(dict.fromkeys(_parts(lines["keywords"]))),
        "weights": tuple(_weight(part) for part in _parts(lines["weights"])),
        "guidance_scales": tuple(_number(float, part, "guidance", "a number") for part in _parts(lines["guidance_scales"])),
        "seeds": _seeds(lines["seeds"]),
        "num_inference_steps": _number(int, lines["num_inference_steps"], "steps", "a whole number"),
        "width": _number(int, width, "size", "width x height"),
        "height": _number(int, height, "size", "width x height"),
        "negative_prompt": lines["negative_prompt"] or None,
    }
    try:
        msgspec.convert(values, SynthesisSpec, strict=False)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at ")
        raise NegError("invalid", f"{place.strip('`').removeprefix('$.') or 'The plan'}: {message}.") from None
    return Draft(values)


def toml(value: Any) -> str:
    """A value as TOML text; `none` takes the setting away."""
    return "none" if value is None else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def in_words(draft: Draft, plan: Plan | None) -> str:
    """`36 pictures, 30 to paint, about 2 min 10 s, 1.2 MB of 50.1 GB free`."""
    parts = [quantity(draft.num_images, "picture")]
    if plan is not None:
        parts = [quantity(plan.num_images, "picture")]
        if plan.num_present:
            parts.append(f"{plan.num_images - plan.num_present} to paint")
        parts.append(f"about {duration(plan.seconds)}" if plan.seconds is not None else "time unknown until some were painted here")
        parts.append(f"{size(plan.num_bytes)} of {size(plan.free_bytes)} free")
    return ", ".join(parts)


def size(num_bytes: float) -> str:
    """`1.2 MB`"""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


class PlanPane(Vertical):
    """The lines of a plan. Every edit posts `Edited`; ctrl+s `Started`, enter `Saved`, escape `Closed`."""

    DEFAULT_CSS = """
    PlanPane { height: 1fr; padding: 0 1; }
    PlanPane Horizontal { height: 1; }
    PlanPane Horizontal > Static { width: 11; }
    PlanPane Input, PlanPane Input:focus { height: 1; border: none; padding: 0; width: 1fr; background: $boost; }
    PlanPane > .said { height: auto; margin: 1 0 0 0; }
    PlanPane > #plan-refusal { color: $error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("plan")]

    class Edited(Message):
        """The lines can be read: ask what it would take."""

        def __init__(self, draft: Draft) -> None:
            super().__init__()
            self.draft = draft

    class Saved(Message):
        """Enter: write it to the session."""

        def __init__(self, draft: Draft) -> None:
            super().__init__()
            self.draft = draft

    class Started(Message):
        """ctrl+s: write it and start."""

        def __init__(self, draft: Draft) -> None:
            super().__init__()
            self.draft = draft

    class Closed(Message):
        """Escape."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.draft: Draft | None = None

    def compose(self) -> ComposeResult:
        for name, label, hint in LINES:
            yield Horizontal(Static(label), Input(placeholder=hint, id=f"plan-{name}", select_on_focus=False))
        yield Static(id="plan-count", classes="said", markup=False)
        yield Static(id="plan-refusal", classes="said", markup=False)
        yield Static(Text("enter saves it to session.toml, ctrl+s saves and starts, esc goes back"), classes="said")

    def open(self, spec: SynthesisSpec | None) -> None:
        """Show a spec's settings."""
        found = texts(spec)
        for name, _, _ in LINES:
            with self.prevent(Input.Changed):
                self.query_one(f"#plan-{name}", Input).value = clean(found.get(name, ""))
        self._read()
        self.query(Input).first().focus()

    def show_plan(self, draft: Draft, plan: Plan | None) -> None:
        """What it will take; passed over where the lines say something else by now."""
        if draft == self.draft:
            self.query_one("#plan-count", Static).update(Text(in_words(draft, plan)))

    def refuse(self, message: str) -> None:
        """Say what is wrong; empty: nothing."""
        self.query_one("#plan-refusal", Static).update(Text(clean(message)))

    def _read(self) -> None:
        try:
            self.draft = read({name: self.query_one(f"#plan-{name}", Input).value for name, _, _ in LINES})
        except NegError as error:
            self.draft = None
            self.query_one("#plan-count", Static).update("")
            self.refuse(str(error))
            return
        self.refuse("")
        self.show_plan(self.draft, None)
        self.post_message(self.Edited(self.draft))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._read()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self.draft is not None:
            self.post_message(self.Saved(self.draft))

    def action_start(self) -> None:
        if self.draft is not None:
            self.post_message(self.Started(self.draft))

    def action_close(self) -> None:
        self.post_message(self.Closed())

    def action_step(self, by: int) -> None:
        fields = list(self.query(Input))
        number = next((number for number, field in enumerate(fields) if field.has_focus), 0)
        fields[max(0, min(len(fields) - 1, number + by))].focus()


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _weight(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _number(kind: type, text: str, line: str, wanted: str) -> Any:
    try:
        return kind(text.strip())
    except ValueError:
        raise NegError("invalid", f"{line}: {text.strip()!r} is not {wanted}.") from None


def _seeds(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in _parts(text):
        low, dash, high = part.partition("-")
        first = _number(int, low, "seeds", "a whole number or a range such as 0-9")
        last = _number(int, high, "seeds", "a whole number or a range such as 0-9") if dash else first
        if last - first >= MAX_SEEDS or last < first:
            raise NegError("invalid", f"seeds: {part!r} is no range of at most {MAX_SEEDS} seeds.")
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))


def _seeds_text(seeds: tuple[int, ...]) -> str:
    """`0-9, 20`"""
    parts: list[str] = []
    start = 0
    for at in range(1, len(seeds) + 1):
        if at == len(seeds) or seeds[at] != seeds[at - 1] + 1:
            parts.append(str(seeds[start]) if at - start < 3 else f"{seeds[start]}-{seeds[at - 1]}")
            if at - start == 2:
                parts.append(str(seeds[at - 1]))
            start = at
    return ", ".join(parts)
