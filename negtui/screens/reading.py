"""Text over the whole screen, read and left again. Which text is its subclasses' to say."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from negtui.keys import bindings


class ReadingScreen(ModalScreen[None], inherit_bindings=False):
    """Covers all; its keys move in the text and close it."""

    # A tint over pictures would blank them.
    DEFAULT_CSS = """
    ReadingScreen { background: $background; }
    ReadingScreen > #reading { padding: 0 2; height: 100%; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("help")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="reading", can_focus=False):
            yield Static(id="reading-text", markup=False)

    def tell(self, text: Text) -> None:
        """Show this, from its beginning."""
        self.query_one("#reading-text", Static).update(text)
        self.query_one("#reading").scroll_home(animate=False)

    def action_close(self) -> None:
        self.app.pop_screen()

    def action_up(self) -> None:
        self.query_one("#reading").scroll_up(animate=False)

    def action_down(self) -> None:
        self.query_one("#reading").scroll_down(animate=False)

    def action_page_up(self) -> None:
        self.query_one("#reading").scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        self.query_one("#reading").scroll_page_down(animate=False)

    def action_top(self) -> None:
        self.query_one("#reading").scroll_home(animate=False)

    def action_bottom(self) -> None:
        self.query_one("#reading").scroll_end(animate=False)
