"""A line for any command of negtui: it runs in the terminal, in front of the dashboard, and a key goes back. Knows no command."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from textual import events
from textual.app import SuspendNotSupported
from textual.widget import Widget
from textual.widgets import Input

from negtui.lending import lent

if TYPE_CHECKING:
    from negtui.app import NegtuiApp


def run_in_front(argv: Sequence[str]) -> None:
    """Run a program on the terminal and wait until what it said has been read."""
    print(f"$ negtui {shlex.join(argv[argv.index('negtui.cli') + 1 :])}\n", flush=True)
    status = subprocess.call(argv)
    print(f"\nExit code {status}. enter goes back to the dashboard.", flush=True)
    sys.stdin.readline()


class CommandLine(Input):
    """Hidden until `open`."""

    DEFAULT_CSS = """
    CommandLine { display: none; height: 1; border: none; padding: 0 1; background: $boost; }
    CommandLine.-open { display: block; }
    CommandLine:focus { border: none; }
    """

    def __init__(self, run: Callable[[Sequence[str]], None] = run_in_front) -> None:
        super().__init__(
            placeholder="a command of negtui, as: doctor; results toy; mark toy 3fa9 --tag hands. esc closes", select_on_focus=False
        )
        self._run = run
        self._before: Widget | None = None

    def open(self) -> None:
        """Take a command."""
        self._before = self.screen.focused
        self.value = ""
        self.add_class("-open")
        self.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        app = cast("NegtuiApp", self.app)
        try:
            words = shlex.split(event.value)
        except ValueError as error:
            app.say(f"{event.value}: {error}.", "error")
            return
        self._close()
        words = words[1:] if words[:1] == ["negtui"] else words
        if words:
            try:
                with lent(app):
                    self._run([*app.command, *words])
            except SuspendNotSupported:
                app.say("This terminal cannot be lent to a command: give it in a shell.", "warning")

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self._close()

    def _close(self) -> None:
        self.remove_class("-open")
        if self._before is not None and self._before.is_attached:
            self._before.focus()
        else:
            self.screen.set_focus(None)
