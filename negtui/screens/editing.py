"""The part of screen 1 that lends the terminal to an editor: on `session.toml` itself where it lies here, else on a copy that is sent back.

Knows the contract, no sockets.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from textual.app import SuspendNotSupported

from daemon.protocol.errors import NegError
from negtui.editing import SESSION_FILE, Draft
from negtui.lending import lent
from negtui.screens.beside import beside
from negtui.screens.making import MakingScreen


class EditingScreen(MakingScreen):
    """Subclasses say what is edited by their table, and what `say_order` finds."""

    def __init__(self) -> None:
        super().__init__()
        self.run_editor: Callable[[Sequence[str]], int] = subprocess.call
        """Opens an editor on files and returns its exit status."""
        self._drafts: dict[str, Draft] = {}
        """What could not be sent, by session."""
        self._is_editing = False

    async def say_order(self, session: str) -> None:
        """Check a session and say whether it is in order."""

    def folder(self, session: str | None) -> str:
        """Where the daemon has it; empty while there is none to ask, which is then said."""
        try:
            welcome = self.negtui.client.welcome
        except NegError as error:
            self.negtui.say(str(error), "error")
            return ""
        return f"{welcome.sessions_path}/{session}" if welcome is not None and session else ""

    async def action_edit(self) -> None:
        session = self.chosen()
        folder = self.folder(session)
        if session is None or not folder:
            return
        if self._is_editing:
            self.negtui.say("The editor is on its way.")
        elif self.negtui.may_change():
            self._is_editing = True
            beside(self, partial(self._edit_session, session, folder), "edit")

    async def _edit_session(self, session: str, folder: str) -> None:
        try:
            await self._edit_where_it_is(session, folder)
        finally:
            self._is_editing = False

    async def _edit_where_it_is(self, session: str, folder: str) -> None:
        path = Path(folder) / SESSION_FILE
        # The same path on this machine is another file where the daemon is elsewhere.
        is_here = not self.view.connection.endpoint and await asyncio.to_thread(path.is_file)
        try:
            if is_here:
                status = self._edit(path)
                if status:
                    self.negtui.say(f"The editor ended with status {status}.", "warning")
            else:
                await self._edit_copy(session)
        except NegError as error:
            self.negtui.say(str(error), "error")
            return
        if session not in self._drafts:
            await self.say_order(session)

    async def _edit_copy(self, session: str) -> None:
        """The daemon's text, or a person's own that could not be sent. Raises `NegError`."""
        draft = self._drafts.pop(session, None)
        if draft is not None and not await self.negtui.confirm(f"Go on with your own text of {session}?"):
            self.negtui.say(f"Anew from the daemon's. Yours stays in {draft.path}.")
            draft = None
        if draft is None or not draft.path.exists():
            draft = await Draft.begin(self.negtui.fetch, session)
        try:
            status = self._edit(*draft.paths)
            if status:
                raise NegError("invalid", f"The editor ended with status {status}: nothing is sent.")
            is_written = await draft.send(self.negtui.client.request, self.negtui.fetch)
        except NegError as error:
            self._keep(draft, error)
            return
        theirs = f" What somebody else had written is kept in {draft.theirs_path}." if len(draft.paths) > 1 else ""
        self.negtui.say(f"{session}: {'its session.toml is written' if is_written else 'nothing is changed'}.{theirs}")
        draft.remove()

    def _keep(self, draft: Draft, error: NegError) -> None:
        """Say why it could not be sent, and where it is."""
        if not draft.is_worth_keeping:
            draft.remove()
            raise error
        self._drafts[draft.session] = draft
        self.negtui.say(f"{error} Your text is kept: {draft.path}. e goes on with it.", "error")

    def _edit(self, *paths: Path) -> int:
        """Lend the terminal to the editor; its exit status. Raises `NegError` where that cannot be."""
        where = " ".join(map(str, paths))
        try:
            editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "") or ["vi"]
        except ValueError as error:
            raise NegError("invalid", f"$VISUAL or $EDITOR cannot be read: {error}.", "Set it.") from None
        try:
            with lent(self.app):
                outcome = self._started([*editor, *map(str, paths)])
        except SuspendNotSupported:
            raise NegError("invalid", f"This terminal cannot be lent to an editor. The file: {where}") from None
        if isinstance(outcome, OSError):
            raise NegError("not_found", f"{editor[0]} cannot be started: {outcome.strerror}.", "Set $EDITOR.")
        return outcome

    def _started(self, command: Sequence[str]) -> int | OSError:
        """What became of it; raised, a failure would leave the terminal lent."""
        try:
            return self.run_editor(command)
        except OSError as error:
            return error
