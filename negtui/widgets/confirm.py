"""A question on a line of its own: y, or anything else for no. Covers nothing, so that pictures stay."""

from __future__ import annotations

import asyncio

from rich.text import Text
from textual import events
from textual.widget import Widget

from negtui.output import clean


class Confirm(Widget, can_focus=True):
    """Hidden until `ask`."""

    DEFAULT_CSS = """
    Confirm { height: 1; display: none; background: $warning; color: $text; text-style: bold; }
    Confirm.-asking { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._question = ""
        self._answer: asyncio.Future[bool] | None = None

    async def ask(self, question: str) -> bool:
        """Whether the answer is yes. A second question while one waits answers the first with no."""
        self._settle(False)
        before = self.screen.focused
        self._question = clean(question)
        answer = self._answer = asyncio.get_running_loop().create_future()
        self.add_class("-asking")
        self.refresh()
        self.focus()
        try:
            yes: bool = await answer
            return yes
        finally:
            if self._answer is None or self._answer is answer:
                self.remove_class("-asking")
                if before is not None and before.is_attached:
                    before.focus()

    def render(self) -> Text:
        return Text(f" {self._question}  y: yes, any other key: no", no_wrap=True, overflow="ellipsis")

    def on_key(self, event: events.Key) -> None:
        if self._answer is not None:
            event.stop()
            event.prevent_default()
            self._settle(event.key in ("y", "Y"))

    def on_blur(self) -> None:
        self._settle(False)

    def _settle(self, yes: bool) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(yes)
