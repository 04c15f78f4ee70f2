"""The dashboard: a table of contents of screens, keys and theme, and the way from a key to the daemon and back in words."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events
from textual.app import App
from textual.driver import Driver
from textual.filter import LineFilter
from textual.reactive import reactive
from textual.screen import Screen

from daemon.protocol.commands import AnyResult, Command, Drain, JobAnswer, Submitted
from daemon.protocol.errors import NegError
from daemon.protocol.events import Preview
from negtui.ascii import AsciiOnly
from negtui.bridge import Bridge, Connect
from negtui.config import key_problems, theme_problems
from negtui.keys import SCREENS, bindings
from negtui.messages import Noticed, PreviewArrived, ViewChanged
from negtui.output import clean
from negtui.palette import Actions
from negtui.pixels.attachment import Attachment
from negtui.pixels.base import Choice
from negtui.pixels.pictures import Pictures
from negtui.screens.base import NegtuiScreen
from negtui.turns import KeyTurns
from negtui.view import View
from negtui.widgets.command_line import CommandLine
from negtui.widgets.confirm import Confirm

if TYPE_CHECKING:
    from negtui.client import Client
    from negtui.voting import Voting

READS = frozenset(
    {
        *("Hello", "Attach", "Credit", "Ping", "ListJobs", "ReadEvents", "ListSessions", "ReadSession"),
        *("GetBlob", "ListFiles", "ListImages", "PlanSynthesis", "ReadComparison", "ReadSweep", "ReadVotes", "ListVotes"),
    }
)
"""Commands that change nothing: the only ones that `--read-only` lets pass."""


def load_screen(name: str) -> Screen[Any]:
    """A screen by its scope; its module is imported when it is first shown."""
    module = importlib.import_module(f"negtui.screens.{name}")
    return cast("Screen[Any]", getattr(module, f"{name.capitalize()}Screen")())


class NegtuiApp(App[None], inherit_bindings=False):
    """Open it on a `connect`; leaving it stops nothing."""

    TITLE = "negtui"
    CSS_PATH = "screens/base.tcss"
    SCREENS: ClassVar[dict[str, Callable[[], Screen[Any]]]] = {name: partial(load_screen, name) for name in (*SCREENS, "vote", "help")}
    BINDINGS = bindings("app")  # type: ignore[assignment]
    COMMANDS: ClassVar[set[Any]] = {Actions}
    ENABLE_COMMAND_PALETTE = True
    ESCAPE_TO_MINIMIZE = False

    current_session: reactive[str | None] = reactive(None, init=False)
    """The session chosen on screen 1; every screen acts on it. Screens are told by `changed` holding `current_session`."""

    def __init__(
        self,
        connect: Connect,
        *,
        read_only: bool = False,
        ascii: bool = False,
        theme: str = "",
        keymap: dict[str, str] | None = None,
        start: str = "sessions",
        endpoint: str = "",
        choice: Choice | None = None,
        revive: Callable[[], Awaitable[object]] | None = None,
        driver_class: type[Driver] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "negtui.cli"),
        voting: Voting | None = None,
    ) -> None:
        """`choice`: how pictures are drawn here. `revive` starts the daemon where none runs; None: it cannot be started from here.

        `voting`: open on the screen that asks for these votes.
        """
        super().__init__(driver_class=driver_class)
        self.view = View()
        self.read_only = read_only
        self.bridge = Bridge(self.view, connect, self.post_message, endpoint)
        self.pictures = Pictures(self.fetch, choice)
        self._only_ascii = [AsciiOnly()] if ascii else []
        self.voting = voting
        """What the screen of votes is about."""
        self._start = "vote" if voting is not None else start
        self._revive = revive
        self.fault: Exception | None = None
        self.command = command
        """How a command line of negtui on the same daemon begins."""
        self._problems = [*theme_problems(theme), *key_problems(keymap or {})]
        self._turns = KeyTurns(self)
        self._attachment = Attachment()
        self.keys_changed = keymap or {}
        self.set_keymap(self.keys_changed)
        if theme in self.available_themes:
            self.theme = theme

    @property
    def client(self) -> Client:
        """The client. Raises `NegError` while there is no connection."""
        if self.bridge.client is None:
            raise NegError("busy", "There is no connection to a daemon.", self.view.connection.reason, retryable=True)
        return cast("Client", self.bridge.client)

    @property
    def may_start_daemon(self) -> bool:
        """Whether a daemon can be started from here."""
        return self._revive is not None and not self.read_only

    @property
    def pictures_words(self) -> str:
        """The picture backend and the bytes of the last picture, for the status line."""
        count = self.pictures.last_bytes
        return f"pictures {self.pictures.backend}{f' {max(1, count // 1000)} kB' if count else ''}"

    def get_line_filters(self) -> list[LineFilter]:
        return [*super().get_line_filters(), *self._only_ascii]

    async def on_event(self, event: events.Event) -> None:
        if not (isinstance(event, events.Key) and not event.is_forwarded and self._turns.holds(event)):
            await super().on_event(event)

    def on_mount(self) -> None:
        self.push_screen(self._start)
        self.run_worker(self.bridge.run(), name="bridge", exit_on_error=True)
        for problem in self._problems:
            self.say(problem, "warning")

    def _fatal_error(self) -> None:
        """Leave with a sentence where Textual would print a traceback; `fault` is what happened."""
        if os.environ.get("NEGTUI_DEBUG"):
            super()._fatal_error()
            return
        self.fault = self._exception
        self._close_messages_no_wait()

    # Asking the daemon.

    async def fetch(self, session: str, path: str) -> bytes:
        """A file of a session. Raises `NegError`."""
        return await self.client.fetch(session, path)

    def may_change(self) -> bool:
        """Whether anything may be changed from here; where it may not, that is said."""
        if self.read_only:
            self.say("Opened with --read-only: nothing is changed from here.", "warning")
        return not self.read_only

    async def ask(self, command: Command, refuse: Callable[[str], object] | None = None) -> AnyResult | None:
        """The daemon's answer; None where it refused or is not there, which `refuse` is then told, or a toast says."""
        name = type(command).__name__
        if name not in READS and not self.may_change():
            return None
        known = dict(self.view.jobs)
        try:
            answer = await self.client.request(command)
        except NegError as error:
            refuse(str(error)) if refuse is not None else self.say(str(error), "error")
            return None
        # What was told of the job meanwhile may be newer than the answer, never older.
        if isinstance(answer, (JobAnswer, Submitted)) and self.view.jobs.get(answer.job.id) is known.get(answer.job.id):
            self.bridge.take_row(answer.job)
        return answer

    def run_ask(self, command: Command, then: Callable[[Any], None] | None = None) -> None:
        """`ask` beside what else goes on, for key handlers; `then` gets the answer, if there is one."""

        async def asking() -> None:
            answer = await self.ask(command)
            if answer is not None and then is not None:
                then(answer)

        self.run_worker(asking(), group="asking", exclusive=False)

    async def confirm(self, question: str) -> bool:
        """Ask y/n on a line of the screen; no unless y is pressed. Await it in a worker, never in a message handler."""
        return await (self.screen_in_front or self.screen).query_one(Confirm).ask(question)

    def say(self, words: str, severity: str = "information") -> None:
        """A toast; never markup, never escapes."""
        self.notify(clean(words), severity=cast("Any", severity), markup=False, timeout=10 if severity == "error" else 5)

    # What the bridge tells.

    def on_view_changed(self, message: ViewChanged) -> None:
        screen = self.screen_in_front
        if screen is not None and screen.is_mounted:
            screen.refresh_view(message.changed)

    def on_preview_arrived(self, message: PreviewArrived) -> None:
        show = getattr(self.screen_in_front, "show_preview", None)
        if show is not None:
            cast("Callable[[Preview], None]", show)(message.preview)

    def on_noticed(self, message: Noticed) -> None:
        self.say(message.text, message.severity)

    def watch_current_session(self) -> None:
        self.post_message(ViewChanged(frozenset({"current_session"})))

    @property
    def screen_in_front(self) -> NegtuiScreen | None:
        """The screen of the six that is shown, also behind help or the palette; none while they are taken apart at the end."""
        if not self.is_running:
            return None
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, NegtuiScreen)), None)

    # Actions that every screen has.

    def action_go(self, name: str) -> None:
        if isinstance(self.screen, NegtuiScreen) and name != self.screen.SCOPE:
            self.switch_screen(name)

    def action_help(self) -> None:
        if isinstance(self.screen, NegtuiScreen):
            self.push_screen("help")

    async def action_back(self) -> None:
        if isinstance(self.screen, NegtuiScreen):
            self.screen.go_back()
        elif len(self.screen_stack) > 1:
            self.pop_screen()

    def action_next_images(self) -> None:
        self.say(f"Pictures: {self.pictures.cycle()}")
        self.post_message(ViewChanged(frozenset({"pictures"})))

    async def on_app_focus(self) -> None:
        if self.pictures.painter.choice.in_tmux and await asyncio.to_thread(self._attachment.is_another):
            self.pictures.resend()

    def action_command(self) -> None:
        if self.read_only:
            self.say("Opened with --read-only: give commands in a shell.", "warning")
        elif isinstance(self.screen, NegtuiScreen):
            self.screen.query_one(CommandLine).open()

    def action_redraw(self) -> None:
        self.pictures.resend()
        self.refresh(repaint=True, layout=True)

    def action_start_daemon(self) -> None:
        if self.view.connection.state == "connected":
            self.say("The daemon runs.")
        elif self.read_only or self._revive is None:
            self.say("Opened with --read-only." if self.read_only else "The daemon is on another machine: start it there.", "warning")
        else:
            self.run_worker(self._start_daemon(self._revive), group="daemon", exclusive=True)

    async def action_stop_daemon(self) -> None:
        async def stop() -> None:
            question = "Stop the daemon? It stops at the next step; its jobs go on when it is started again."
            if await self.confirm(question) and await self.ask(Drain()) is not None:
                self.say("The daemon stops at its running job's next step.")

        self.run_worker(stop(), group="daemon", exclusive=True)

    async def _start_daemon(self, revive: Callable[[], Awaitable[object]]) -> None:
        self.say("Starting the daemon ...")
        try:
            await revive()
        except NegError as error:
            self.say(str(error), "error")
        self.bridge.hurry()
