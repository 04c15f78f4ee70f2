"""The last line: keys that work here, from the bindings; help and how to leave are always there."""

from __future__ import annotations

from rich.text import Text
from textual.app import RenderResult
from textual.widget import Widget

from negtui.keys import by_id, key_words


class KeyLine(Widget):
    """One row. Those of the focused widget and of the screen come first, as many as fit."""

    DEFAULT_CSS = "KeyLine { height: 1; background: $panel; color: $foreground-muted; }"
    ALWAYS = ("app.help", "app.quit")

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda screen: self.refresh())

    def render(self) -> RenderResult:
        known, read_only = by_id(), getattr(self.app, "read_only", False)
        shown: dict[str, str] = {}
        for key, active in self.screen.active_bindings.items():
            binding = active.binding
            if _is_typed(self.screen.focused, key):
                continue
            if binding.show and binding.id in known and active.enabled and not (read_only and known[binding.id].changes):
                shown.setdefault(binding.id, f"{key_words(binding.key)} {known[binding.id].footer}")
        last = [shown.pop(name) for name in self.ALWAYS if name in shown]
        return keys_text(list(shown.values()), last, self.size.width)


def _is_typed(focused: Widget | None, key: str) -> bool:
    """Whether a key writes its character where the focus is."""
    character = key_words(key)
    return focused is not None and len(character) == 1 and focused.check_consume_key(key, character)


def keys_text(first: list[str], last: list[str], width: int) -> Text:
    """`first` as far as there is room, then `last`, which always are."""
    tail = "  ".join(last)
    line = ""
    for word in first:
        longer = f"{line}  {word}" if line else word
        if len(longer) + 2 + len(tail) > width - 2:
            break
        line = longer
    gap = max(2, width - 2 - len(line) - len(tail))
    return Text(f" {line}{' ' * gap}{tail} " if line else f" {tail}", no_wrap=True, overflow="ellipsis")
