"""A line to type a filter on: it acts as one types; enter keeps it, esc clears it."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.widgets import Input


class FilterLine(Input):
    """Hidden until `open_for`. Posts `Typed` at each letter and `Left` when it closes."""

    DEFAULT_CSS = """
    FilterLine { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
    FilterLine.-open { display: block; }
    FilterLine:focus { border: none; }
    """

    class Typed(Message):
        def __init__(self, owner: str, text: str) -> None:
            super().__init__()
            self.owner = owner
            self.text = text

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, placeholder="filter: enter keeps it, esc clears it", select_on_focus=False)
        self._owner = ""

    def open_for(self, owner: str, text: str) -> None:
        """Take what is typed as the filter of the widget with the id `owner`."""
        self._owner = ""
        self.value = text
        self._owner = owner
        self.add_class("-open")
        self.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._owner:
            self.post_message(self.Typed(self._owner, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close()

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self.value = ""
            if self._owner:
                self.post_message(self.Typed(self._owner, ""))
            self._close()

    def _close(self) -> None:
        self.remove_class("-open")
        if self._owner:
            self.screen.query_one(f"#{self._owner}").focus()
        self._owner = ""
