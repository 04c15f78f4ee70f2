"""A form made of a spec: options in groups, what is not at its default marked, a bad value said beside its field.

It edits nothing by itself: `Edited` tells what a person wants, `show` what has become of it. Knows no session and no daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Static

from negtui import forms
from negtui.forms import Option
from negtui.keys import bindings
from negtui.output import clean

NAME_WIDTH = 31


@dataclass(frozen=True)
class Remark:
    """What is to be said beside an option; `is_fault`: it cannot stay so."""

    words: str
    is_fault: bool = True


Judge = Callable[[Any], Mapping[str, Remark]]
"""What the options of a spec, taken together, deserve to be told."""


class OptionRows(ScrollView, can_focus=True, inherit_bindings=False):
    """The rows themselves: a heading a group, a line an option."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"form--group", "form--changed", "form--cursor", "form--fault", "form--doubt"}
    DEFAULT_CSS = """
    OptionRows { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }
    OptionRows > .form--group { text-style: bold; color: $text-primary; }
    OptionRows > .form--changed { text-style: bold; }
    OptionRows > .form--cursor { text-style: reverse; }
    OptionRows > .form--fault { color: $text-error; }
    OptionRows > .form--doubt { color: $text-warning; }
    """
    cursor = var(0)

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.rows: list[Option | str] = []
        self.values: Mapping[str, Any] = {}
        self.remarks: Mapping[str, Remark] = {}
        self.typed: str | None = None
        """What stands in the line being edited, of the option at the cursor."""

    @property
    def current(self) -> Option | None:
        """The option at the cursor."""
        row = self.rows[self.cursor] if self.cursor < len(self.rows) else None
        return row if isinstance(row, Option) else None

    def fill(self, options: tuple[Option, ...]) -> None:
        """Show these options, the cursor on the one it was on, else on the first."""
        before = self.current
        self.rows = []
        for number, option in enumerate(options):
            if not number or options[number - 1].group != option.group:
                self.rows.append(option.group)
            self.rows.append(option)
        self.virtual_size = Size(self.size.width, len(self.rows))
        self.cursor = self.rows.index(before) if before in self.rows else min(1, len(self.rows))
        self.refresh()

    def move(self, by: int) -> None:
        """So many options down."""
        places = [place for place, row in enumerate(self.rows) if isinstance(row, Option)]
        if places:
            here = places.index(self.cursor) if self.cursor in places else 0
            self.go(places[max(0, min(len(places) - 1, here + by))])

    def go(self, place: int) -> None:
        before, self.cursor = self.cursor, place
        self.refresh_lines(before)
        self.refresh_lines(place)
        top = place - 1 if place and isinstance(self.rows[place - 1], str) else place
        if top < self.scroll_offset.y:
            self.scroll_to(y=top, animate=False, force=True, immediate=True)
        elif place >= self.scroll_offset.y + self.size.height:
            self.scroll_to(y=place - self.size.height + 1, animate=False, force=True, immediate=True)

    def render_line(self, y: int) -> Strip:
        place, width = y + self.scroll_offset.y, self.size.width
        background = self.rich_style
        if place >= len(self.rows):
            return Strip.blank(width, background)
        row = self.rows[place]
        if isinstance(row, str):
            style = background + self.get_component_rich_style("form--group", partial=True)
            return Strip([Segment(set_cell_size(clean(row), width), style)], width)
        segments = [Segment(text, background + style) for text, style in self._parts(row, place == self.cursor)]
        return Strip(segments).adjust_cell_length(width, background)

    def _parts(self, option: Option, is_current: bool) -> list[tuple[str, Style]]:
        value = self.values.get(option.name, option.default)
        is_changed = forms.changed(option, value)
        remark = self.remarks.get(option.name)
        text = self.typed if is_current and self.typed is not None else forms.written(value)
        mark = "!" if remark and remark.is_fault else "?" if remark else "*" if is_changed else " "
        name_width = min(NAME_WIDTH, max(self.size.width - 16, 12))
        plain = self.get_component_rich_style("form--changed", partial=True) if is_changed else Style()
        shade = self.get_component_rich_style("form--cursor", partial=True) if is_current else Style()
        parts = [
            (set_cell_size(f"{'>' if is_current else ' '}{mark} {option.name}", name_width), plain + shade),
            (f" {_one_line(text)}", plain + shade),
        ]
        if remark:
            kind = "form--fault" if remark.is_fault else "form--doubt"
            parts.append((f"  {_one_line(remark.words)}", self.get_component_rich_style(kind, partial=True)))
        return parts


class SpecForm(Vertical):
    """The rows, what the option at the cursor means, and a line to write in."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("form")]
    DEFAULT_CSS = """
    SpecForm { height: 1fr; }
    SpecForm #notice { height: auto; color: $text-warning; display: none; }
    SpecForm #meaning { height: 6; border-top: solid $primary; }
    SpecForm #edit { height: 1; display: none; background: $boost; }
    SpecForm #edit > Static { width: auto; padding: 0 1 0 0; text-style: bold; }
    SpecForm #edit > Input { height: 1; border: none; padding: 0; width: 1fr; background: $boost; }
    """

    class Edited(Message):
        """A person wants `option` to be `value`, which is one it may have."""

        def __init__(self, option: Option, value: Any) -> None:
            super().__init__()
            self.option = option
            self.value = value

    def __init__(self, spec_type: type[msgspec.Struct], judge: Judge = lambda spec: {}, **named: Any) -> None:
        super().__init__(**named)
        self.spec: msgspec.Struct | None = None
        self.is_editable = False
        self._type = spec_type
        self._judge = judge
        self._shown: tuple[msgspec.Struct | None, bool, str] | None = None
        self._purpose = ""
        self._words = ""
        self._refused: dict[str, Remark] = {}
        self._undo: list[tuple[Option, Any]] = []

    def compose(self) -> ComposeResult:
        yield Static(id="notice", markup=False)
        yield OptionRows()
        yield Static(id="meaning", markup=False)
        with Horizontal(id="edit"):
            yield Static(id="label", markup=False)
            yield Input(select_on_focus=False)

    def on_mount(self) -> None:
        self.rows.fill(forms.options(self._type))
        self._explain()

    @property
    def rows(self) -> OptionRows:
        return self.query_one(OptionRows)

    @property
    def is_writing(self) -> bool:
        """Whether the line to write in is open."""
        return bool(self._purpose)

    def show(self, spec: msgspec.Struct | None, *, is_editable: bool, notice: str = "") -> None:
        """The values as they are now; `notice` says why they cannot be changed, or what is amiss with all of them."""
        if (spec, is_editable, notice) == self._shown:
            return
        if spec != self.spec:
            self._refused = {}
        self._shown = spec, is_editable, notice
        self.spec, self.is_editable = spec, is_editable and spec is not None
        self.rows.values = msgspec.structs.asdict(spec) if spec is not None else {}
        line = self.query_one("#notice", Static)
        line.update(Text(clean(notice)))
        line.display = bool(notice)
        self._mark()

    def reset(self) -> None:
        """Another spec is shown from now on: what was written and changed belongs to the one before."""
        self._undo.clear()
        if self.is_writing:
            self.back()

    def refuse(self, option: str, words: str) -> None:
        """Say beside an option why it could not be changed."""
        self._refused[option] = Remark(words)
        self._mark()

    def action_move(self, by: int) -> None:
        if not self.is_writing:
            self.rows.move(by)
            self._explain()

    def action_end(self, which: int) -> None:
        self.action_move(which * len(self.rows.rows))

    def action_next_changed(self) -> None:
        """The next option that differs from its default; behind the last one, the first."""
        rows = self.rows
        places = [place for place, row in enumerate(rows.rows) if isinstance(row, Option) and self._is_changed(row)]
        if places and not self.is_writing:
            rows.go(next((place for place in places if place > rows.cursor), places[0]))
            self._explain()

    def action_edit(self) -> None:
        option = self.rows.current
        if option is None or not self._may_edit():
            return
        if option.kind in ("switch", "choice"):
            self.action_turn(1)
        else:
            self._write("edit", f"{option.name}:", forms.written(self._value(option)))

    def action_turn(self, by: int) -> None:
        option = self.rows.current
        if option is None or self.is_writing or option.kind not in ("switch", "choice") or not self._may_edit():
            return
        values: list[Any] = [False, True] if option.kind == "switch" else [*option.choices]
        value = self._value(option)
        self._wish(option, values[(values.index(value) + by) % len(values)] if value in values else values[0])

    def action_default(self) -> None:
        option = self.rows.current
        if option is not None and not self.is_writing and self._may_edit() and self._is_changed(option):
            self._wish(option, option.default)

    def action_undo(self) -> None:
        if self._undo and not self.is_writing and self._may_edit():
            option, value = self._undo.pop()
            self.post_message(self.Edited(option, value))

    def action_filter(self) -> None:
        """Only options with some words."""
        self._write("filter", "find:", self._words)

    def back(self) -> bool:
        """One level back: what is being written, the filter. False where there is neither."""
        if self.is_writing:
            purpose = self._purpose
            self._close()
            if purpose == "filter":
                self._filter("")
            self._mark()
        elif self._words:
            self._filter("")
        else:
            return False
        return True

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._purpose == "filter":
            self._filter(event.value)
        elif self._purpose == "edit":
            self.rows.typed = event.value
            self._mark()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        option = self.rows.current
        if self._purpose == "edit" and option is not None:
            try:
                value = self._read(option, event.value)
            except ValueError:
                return  # it says so beside its field, and stays open
            self._close()
            if value != self._value(option):
                self._wish(option, value)
        else:
            self._close()
        self._mark()

    def _wish(self, option: Option, value: Any) -> None:
        self._undo.append((option, self._value(option)))
        self.post_message(self.Edited(option, value))

    def _may_edit(self) -> bool:
        if not self.is_editable:
            self.app.bell()
        return self.is_editable

    def _value(self, option: Option) -> Any:
        return self.rows.values.get(option.name, option.default)

    def _is_changed(self, option: Option) -> bool:
        return forms.changed(option, self._value(option))

    def _read(self, option: Option, text: str) -> Any:
        value = forms.read(option, text)
        forms.check(self._type, option, value)
        return value

    def _write(self, purpose: str, label: str, text: str) -> None:
        self._purpose = purpose
        self.query_one("#label", Static).update(Text(label))
        self.query_one("#edit").display = True
        line = self.query_one(Input)
        line.value = text
        line.cursor_position = len(text)
        line.focus()

    def _close(self) -> None:
        self._purpose = ""
        self.rows.typed = None
        self.query_one("#edit").display = False
        self.rows.focus()

    def _filter(self, words: str) -> None:
        self._words = words
        wanted = words.lower().split()
        self.rows.fill(
            tuple(
                option
                for option in forms.options(self._type)
                if all(word in f"{option.name} {option.group} {option.meaning}".lower() for word in wanted)
            )
        )
        self._explain()

    def _mark(self) -> None:
        """What is to be said beside the options now."""
        rows = self.rows
        remarks = {**(self._judge(self.spec) if self.spec is not None else {}), **self._refused}
        if rows.typed is not None and rows.current is not None:
            remarks.pop(rows.current.name, None)
            try:
                self._read(rows.current, rows.typed)
            except ValueError as error:
                remarks[rows.current.name] = Remark(str(error))
        rows.remarks = remarks
        rows.refresh()
        self._explain()

    def _explain(self) -> None:
        option = self.rows.current
        if option is None:
            self.query_one("#meaning", Static).update("")
            return
        remark = self.rows.remarks.get(option.name)
        text = Text(f"{option.name}: {option.allowed}. Default: {forms.written(option.default)}.\n", style="bold")
        if remark:
            text.append(f"{'!' if remark.is_fault else '?'} {clean(remark.words)}\n", style="italic")
        text.append(clean(option.meaning), style="not bold")
        self.query_one("#meaning", Static).update(text)


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())
