"""Whether tmux has been attached elsewhere: another terminal stands around it then, which has no picture yet. Draws nothing."""

from __future__ import annotations

from collections.abc import Callable

from negtui.pixels.choose import ask_tmux

CLIENT_FORMAT = "#{client_pid} #{session_last_attached}"


def _ask() -> str:
    return ask_tmux(wanted=CLIENT_FORMAT)


class Attachment:
    """Remembers which client of tmux showed us last."""

    def __init__(self, ask: Callable[[], str] = _ask) -> None:
        self._ask = ask
        self._client = ""

    def is_another(self) -> bool:
        """Whether another client shows us than at the last call; the first one only remembers. Asks tmux: call it in a thread."""
        before, self._client = self._client, self._ask() or self._client
        return bool(before) and before != self._client
