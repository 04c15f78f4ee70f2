"""The half of the voting screen that asks: pictures of one block side by side, without names, zoomed. Knows no sockets."""

from __future__ import annotations

import asyncio

from rich.text import Text
from textual.widgets import Static

from daemon.protocol.results import RoundAnswer
from daemon.protocol.voting import Trial
from negtui import comparing, voting
from negtui.comparing import Looking
from negtui.output import clean, quantity
from negtui.screens.base import NegtuiScreen
from negtui.screens.beside import beside
from negtui.screens.blocks import WHOLE
from negtui.voting import PLACES, Voting
from negtui.widgets.arm_grid import BlockView, Shown
from negtui.widgets.image_view import ImageView, Picture

ALL_ANSWERED = "Every question is answered. c closes the round and shows what the votes say; u takes the last answer back."


class AskingScreen(NegtuiScreen):
    """Subclasses compose a `BlockView`, `#vote-heading` and `#vote-prompt`."""

    def __init__(self) -> None:
        super().__init__()
        self.voting: Voting | None = None
        self.round: RoundAnswer | None = None
        self.seen = Looking()
        """How far the pictures are zoomed, and where."""
        self._trial_shown: Trial | None = None

    @property
    def trial(self) -> Trial | None:
        """The question that is asked."""
        return self.round.trials[0] if self.round is not None and self.round.trials else None

    @property
    def is_shown(self) -> bool:
        """Whether the pictures of the question stand on the screen, or why they do not."""
        views = self.query_one(BlockView).query(ImageView)
        return self.trial is not None and self._trial_shown is self.trial and all(view.is_settled for view in views)

    async def show_trial(self) -> None:
        """The question, then the pictures of the next ones are fetched beside."""
        answer, trial = self.round, self.trial
        if answer is None or self.voting is None:
            return
        heading = f"{self.voting.session}/{self.voting.comparison}, {answer.round.voter}: "
        if trial is None:
            self.tell_heading(f"{heading}all {quantity(answer.round.num_trials, 'question')} answered")
            self.tell_prompt(ALL_ANSWERED)
            await self.query_one(BlockView).show((), 0, in_place=False)
            return
        zoom = f", x{2**self.seen.zoom}" if self.seen.zoom else ""
        self.tell_heading(f"{heading}question {voting.progress(answer)}{zoom}. Which picture is better?")
        self.tell_prompt(trial.prompt)
        shown = await asyncio.gather(*(self._picture(trial, number) for number in range(len(trial.paths))))
        await self.query_one(BlockView).show(shown, -1, in_place=False)
        self._trial_shown = trial
        ahead = [Picture(self.voting.session, path) for later in answer.trials[1:] for path in later.paths]
        for view in list(self.query_one(BlockView).query(ImageView))[:1]:
            await asyncio.gather(*(view.fetch_ahead(one) for one in ahead))

    async def _picture(self, trial: Trial, number: int) -> Shown:
        assert self.voting is not None
        words = f"{number + 1} {PLACES[len(trial.paths)][number]}"
        picture = Picture(self.voting.session, trial.paths[number], trial.width, trial.height)
        if not self.seen.zoom:
            return Shown(picture, words)
        found = await self.negtui.pictures.get(picture.session, picture.path, WHOLE)
        if found is None:
            return Shown(picture, words)
        image = await asyncio.to_thread(comparing.crop, found, self.seen.zoom, self.seen.centre)
        return Shown(image, words, (picture.session, picture.path, self.seen.zoom, self.seen.centre))

    def tell_heading(self, text: str) -> None:
        self.query_one("#vote-heading", Static).update(Text(" ".join(clean(text).split()), no_wrap=True, overflow="ellipsis"))

    def tell_prompt(self, text: str) -> None:
        self.query_one("#vote-prompt", Static).update(Text(" ".join(clean(text).split())))

    def action_zoom(self, by: int) -> None:
        if self.trial is not None:
            self.seen.zoom_by(by)
            beside(self, self.show_trial, "trial")

    def action_look(self, across: int, down: int) -> None:
        if self.seen.zoom:
            self.seen.look(across, down)
            beside(self, self.show_trial, "trial")
