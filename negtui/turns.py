"""Keys one after another: the next one's turn comes when the one before has had its whole effect. So what is typed ahead arrives.

Textual hands a key from widget to widget and sets the focus later still; a key that follows at once would go to what had the focus before.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from textual.app import App
from textual.events import Key

NUM_QUIET = 3
"""So many turns of the event loop in which nobody on the key's way has a message: it has had its effect."""
MAX_SECONDS = 0.25
"""A key waits no longer for the one before."""


class KeyTurns:
    """Ask `holds` about each key that comes in; those it holds it posts again when it is their turn."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._waiting: deque[Key] = deque()
        self._next: Key | None = None
        self._task: asyncio.Task[None] | None = None

    def holds(self, key: Key) -> bool:
        """Whether a key has to wait."""
        if key is self._next:
            self._next = None
            return False
        if self._task is not None:
            self._waiting.append(key)
            return True
        self._task = asyncio.create_task(self._go_through())
        return False

    async def _go_through(self) -> None:
        try:
            await self._settle()
            while self._waiting:
                self._next = self._waiting.popleft()
                self._app.post_message(self._next)
                await self._settle()
        finally:
            self._task = None

    async def _settle(self) -> None:
        """Until the key under way has gone from the focused widget up to the app, and what came of it as well."""
        until = time.monotonic() + MAX_SECONDS
        num_quiet = 0
        while num_quiet < NUM_QUIET and time.monotonic() < until:
            await asyncio.sleep(0)
            num_quiet = 0 if self._next is not None or self._is_under_way() else num_quiet + 1

    def _is_under_way(self) -> bool:
        start = self._app.focused or (self._app.screen if self._app.screen_stack else self._app)
        return any(node.message_queue_size for node in (*start.ancestors_with_self, self._app))
