"""A question in the place of the keys: y, or anything else for no. Nothing else moves, so that no picture is drawn again."""

from __future__ import annotations

import asyncio

from rich.text import Text
from textual import events
from textual.app import RenderResult

from negtui.output import clean
from negtui.widgets.cut import cut
from negtui.widgets.key_line import KeyLine

CHOICE = " y: yes, any other key: no"


class Confirm(KeyLine):
    """The keys, until `ask`; then the question."""

    DEFAULT_CSS = "Confirm.-asking { background: $warning; color: $text; text-style: bold; }"

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
        self._show(True)
        self.focus()
        try:
            yes: bool = await answer
            return yes
        finally:
            if self._answer is None or self._answer is answer:
                self._show(False)
                if before is not None and before.is_attached:
                    before.focus()

    def _show(self, is_asking: bool) -> None:
        self.can_focus = is_asking
        self.set_class(is_asking, "-asking")
        self.refresh()

    def render(self) -> RenderResult:
        if not self.has_class("-asking"):
            return super().render()
        return Text(f" {cut(self._question, min(len(self._question), self.size.width - len(CHOICE) - 1))}{CHOICE}", no_wrap=True)

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
