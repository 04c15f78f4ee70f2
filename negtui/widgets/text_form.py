"""A few lines to fill in, at the foot of a screen: one line asks for a name, more of them make a form. Knows no daemon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from negtui.keys import bindings
from negtui.output import clean

MAX_LINES = 8
"""They are there from the beginning, so that a form is open at once and what is typed ahead goes into it."""


@dataclass(frozen=True)
class Line:
    """One line of a form."""

    name: str
    label: str
    value: str = ""
    hint: str = ""
    """Shown in the empty field."""


class TextForm(Vertical):
    """Hidden until `open`. Enter goes to the next line, on the last one it submits; escape closes."""

    DEFAULT_CSS = """
    TextForm { height: auto; display: none; background: $surface; border-top: solid $primary; }
    TextForm > #title { height: auto; padding: 0 1; text-style: bold; }
    TextForm > #refusal { height: auto; padding: 0 1; color: $error; }
    TextForm Horizontal { height: 1; }
    TextForm Horizontal > Static { width: 14; padding: 0 1; }
    TextForm Input, TextForm Input:focus { height: 1; border: none; padding: 0; width: 1fr; background: $boost; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("fields")]

    class Submitted(Message):
        """All lines, as written, by name. `form` is the one that was opened."""

        def __init__(self, form: str, values: dict[str, str]) -> None:
            super().__init__()
            self.form = form
            self.values = values

    class Changed(Message):
        """A line was edited."""

        def __init__(self, form: str, values: dict[str, str]) -> None:
            super().__init__()
            self.form = form
            self.values = values

    class Closed(Message):
        """Escape was pressed."""

        def __init__(self, form: str) -> None:
            super().__init__()
            self.form = form

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.form = ""
        self._lines: tuple[Line, ...] = ()

    @property
    def is_open(self) -> bool:
        return bool(self.display)

    @property
    def values(self) -> dict[str, str]:
        return {line.name: field.value for line, field in zip(self._lines, self._fields, strict=True)}

    @property
    def _fields(self) -> list[Input]:
        return list(self.query(Input))[: len(self._lines)]

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield Static(id="refusal", markup=False)
        for _ in range(MAX_LINES):
            yield Horizontal(Static(markup=False), Input(select_on_focus=False))

    async def open(self, form: str, title: str, lines: Sequence[Line]) -> None:
        """Show these lines, the first one focused."""
        self.form = form
        self._lines = tuple(lines)
        self.query_one("#title", Static).update(Text(clean(title)))
        self.refuse("")
        for number, row in enumerate(self.query(Horizontal)):
            row.display = number < len(lines)
            if row.display:
                row.query_one(Static).update(Text(lines[number].label))
                _fill(row.query_one(Input), lines[number])
        self.display = True
        self._fields[0].focus()

    def refuse(self, message: str) -> None:
        """Say what is wrong with what was submitted; the form stays."""
        refusal = self.query_one("#refusal", Static)
        refusal.update(Text(clean(message)))
        refusal.display = bool(message)

    def action_close(self) -> None:
        if self.is_open:
            self.display = False
            self.post_message(self.Closed(self.form))

    def action_step(self, by: int) -> None:
        fields = self._fields
        number = next((number for number, field in enumerate(fields) if field.has_focus), 0)
        fields[max(0, min(len(fields) - 1, number + by))].focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        fields = self._fields
        if event.input is fields[-1]:
            self.post_message(self.Submitted(self.form, self.values))
        elif event.input in fields:
            fields[fields.index(event.input) + 1].focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(self.form, self.values))


def _fill(field: Input, line: Line) -> None:
    with field.prevent(Input.Changed):
        field.value = line.value
    field.placeholder = line.hint
    field.cursor_position = len(line.value)
