"""What every screen is: the line of screens, a body, a question when there is one, the status line and the keys.

Subclasses implement `compose_body` and `show`. Knows no particular screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from negtui.keys import SCREENS
from negtui.view import ALL, View
from negtui.widgets.command_line import CommandLine
from negtui.widgets.confirm import Confirm
from negtui.widgets.screen_line import ScreenLine
from negtui.widgets.status_bar import StatusBar

if TYPE_CHECKING:
    from negtui.app import NegtuiApp

NO_SESSION = "Choose a session on screen 1."
MIN_WIDTH = 60
MIN_HEIGHT = 20


class NegtuiScreen(Screen[None], inherit_bindings=False):
    """A screen of the dashboard. `SCOPE` names its keys in `negtui.keys`."""

    SCOPE: ClassVar[str] = ""
    TITLE: ClassVar[str | None] = ""
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """As Textual has it, but that another focus does not paint the whole screen anew: pictures would be sent with it."""
    _hidden_focus: Widget | None = None
    """What had the focus when the terminal became too small: hidden widgets lose it."""

    @property
    def number(self) -> int:
        """Its number key."""
        return SCREENS.index(self.SCOPE) + 1

    @property
    def negtui(self) -> NegtuiApp:
        """The app, by its type."""
        return cast("NegtuiApp", self.app)

    @property
    def view(self) -> View:
        return self.negtui.view

    @property
    def session_at_hand(self) -> str | None:
        """The session that was chosen, or the only one there is."""
        sessions = self.view.sessions
        return self.negtui.current_session or (next(iter(sessions)) if len(sessions) == 1 else None)

    def compose(self) -> ComposeResult:
        yield ScreenLine(self.SCOPE)
        with Container(id="body"):
            yield from self.compose_body()
        yield Static(id="too-small", markup=False)
        yield CommandLine()
        yield StatusBar()
        yield Confirm()

    def compose_body(self) -> ComposeResult:
        """The widgets of this screen."""
        yield from ()

    def show(self, view: View, changed: frozenset[str]) -> None:
        """Bring the screen up to date: called when it is shown first or again (everything changed), and for every change meanwhile."""

    def go_back(self) -> bool:
        """One level back: close, clear a filter; False where there is nothing to leave."""
        return False

    def refresh_view(self, changed: frozenset[str] = ALL) -> None:
        """Show what changed, here and in the status line."""
        self.set_class(self.view.connection.state == "lost", "-stale")
        self.query_one(StatusBar).show(self.view)
        self.show(self.view, changed)

    def on_mount(self) -> None:
        self.call_after_refresh(self._show_everything)

    def on_screen_resume(self) -> None:
        self._show_everything()

    def _show_everything(self) -> None:
        if self.is_mounted and self.negtui.is_running:  # A screen that is taken apart at the end has its widgets no more.
            self.refresh_view()

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        too_small, was_too_small = width < MIN_WIDTH or height < MIN_HEIGHT, self.has_class("-too-small")
        if too_small and not was_too_small:
            self._hidden_focus = self.focused
        elif was_too_small and not too_small and self._hidden_focus is not None:
            self.call_after_refresh(self.set_focus, self._hidden_focus)
        self.set_class(too_small, "-too-small")
        self.set_class(width < 100, "-narrow")
        self.set_class(height < 30, "-short")
        if too_small:
            self.query_one("#too-small", Static).update(f"negtui needs {MIN_WIDTH}x{MIN_HEIGHT}; this terminal has {width}x{height}.")
