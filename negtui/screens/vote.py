"""Blind votes: pictures of one block side by side, without names; after the round is closed, what all votes say.

Reached from screen 4 and by `negtui vote`. Never asks for what would tell whose a picture is. Knows the contract, no sockets.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from daemon.protocol.commands import CastVote, CloseRound, OpenRound, ReadVotes, RoundAnswer, UndoVote, VotesAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.events import RoundClosed, RoundOpened, VoteCast, VoteUndone
from daemon.protocol.voting import Choice, RoundSpec
from negtui import comparing, voting
from negtui.comparing import Looking
from negtui.keys import bindings
from negtui.output import quantity
from negtui.screens.asking import AskingScreen
from negtui.screens.beside import beside
from negtui.view import ALL, View
from negtui.voting import CHOICES, PLACES, Voting
from negtui.widgets.arm_grid import BlockView
from negtui.widgets.text_form import Line, TextForm

NOTHING = "Choose a comparison on screen 4 first; V there asks for votes on it."


class VoteScreen(AskingScreen):
    """Modes: the form of a new round (its form is open), a question (`-asking`), what came of the votes (`-results`)."""

    SCOPE = "vote"
    TITLE = "Vote"
    CSS_PATH = "vote.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("vote")]

    def __init__(self) -> None:
        super().__init__()
        self.votes: VotesAnswer | None = None
        self._is_busy = False

    def compose_body(self) -> ComposeResult:
        yield Static(id="vote-heading", markup=False)
        yield Static(id="vote-prompt", markup=False)
        yield BlockView(id="vote-pictures")
        with VerticalScroll(id="vote-results", can_focus=False):
            yield Static(id="vote-figures", markup=False)
        yield TextForm(id="vote-form")

    @property
    def form(self) -> TextForm:
        return self.query_one(TextForm)

    @property
    def place(self) -> dict[str, str]:
        """Session and comparison, as commands name them."""
        assert self.voting is not None
        return {"session": self.voting.session, "comparison": self.voting.comparison}

    # What the daemon tells.

    def show(self, view: View, changed: frozenset[str]) -> None:
        wanted = self.negtui.voting
        is_there = wanted is not None and view.connection.state == "connected"
        if is_there and (wanted is not self.voting or (changed == ALL and not self.form.is_open)):
            self.voting, self.round = wanted, self.round if wanted is self.voting else None
            beside(self, self._begin, "begin")
        elif "votes" in changed and self.voting is not None and not self._is_busy:
            self._look_again(view)
        if wanted is None:
            self.tell_heading(NOTHING)

    def _look_again(self, view: View) -> None:
        """Another screen of this voter may have answered, or closed the round."""
        assert self.voting is not None
        told = view.votes.get((self.voting.session, self.voting.comparison))
        own = self.round.round if self.round is not None else None
        if told is not None and own is not None and told.round_id == own.id and not self._is_known(told):
            beside(self, self._begin, "begin")

    def _is_known(self, told: RoundOpened | VoteCast | VoteUndone | RoundClosed) -> bool:
        ahead = {trial.number for trial in self.round.trials} if self.round is not None else set()
        match told:
            case VoteCast():
                return told.number not in ahead
            case VoteUndone():
                return told.number in ahead
        return isinstance(told, RoundOpened)

    async def _begin(self) -> None:
        """Go on with the voter's open round; else what the votes say, or the form of a new round."""
        wanted = self.voting
        found = await self.negtui.ask(ReadVotes(**self.place))
        if not isinstance(found, VotesAnswer) or wanted is None or wanted is not self.voting:
            return
        self.votes = found
        if wanted.spec is not None or voting.open_row(found, wanted.voter) is not None:
            await self._open(wanted.voter, wanted.spec)
        elif found.results is not None or self.negtui.read_only:
            self._show_results()
        else:
            await self._open_form()

    async def _open(self, voter: str, spec: RoundSpec | None) -> bool:
        refuse = self.form.refuse if self.form.is_open else None
        answer = await self.negtui.ask(OpenRound(**self.place, voter=voter, spec=spec), refuse)
        # Its spec has done its work: from now on it is the voter's open round.
        self.voting = self.negtui.voting = Voting(self.place["session"], self.place["comparison"], voter)
        if not isinstance(answer, RoundAnswer):
            if self.round is None and not self.form.is_open:
                self._show_results()
            return False
        if answer.round.num_voted and self.round is None:
            self.negtui.say(f"Going on with the round of {voter}: {voting.progress(answer)}.")
        self._take(answer)
        return True

    def _take(self, answer: RoundAnswer) -> None:
        self.round = answer
        self.seen = Looking()
        self._turn_to("-asking")
        beside(self, self.show_trial, "trial")

    # What is shown.

    def _show_results(self) -> None:
        if self.votes is None:
            return
        self.round = None
        self._turn_to("-results")
        self.tell_heading(f"{self.votes.session}/{self.votes.comparison}: what the votes say. n: a round of votes")
        lines = [*voting.result_lines(self.votes), "", *voting.rounds_lines(self.votes)]
        self.query_one("#vote-figures", Static).update(Text("\n".join(lines)))

    def _turn_to(self, mode: str) -> None:
        self.set_class(mode == "-asking", "-asking")
        self.set_class(mode == "-results", "-results")
        self.refresh_bindings()

    # The form of a new round.

    async def _open_form(self) -> None:
        found, wanted = self.votes, self.voting
        if found is None or wanted is None:
            return
        lines = (
            Line("voter", "voter", wanted.voter, "your name: a-z 0-9 . _ -"),
            Line("arms", "arms", "", f"all: {' '.join(found.arms)}"),
            Line("num_shown", "at once", "", "2 pictures, or 3"),
            Line("num_trials", "questions", "", f"all: every one of {quantity(found.num_blocks, 'block')}, every pair"),
            Line("repeat_share", "asked again", "", "0.1: this share of them comes again, to see how sure you are"),
        )
        await self.form.open(
            "round", f"A round of blind votes on {found.session}/{found.comparison}. Enter on the last line begins.", lines
        )

    def on_text_form_submitted(self, event: TextForm.Submitted) -> None:
        try:
            voter = voting.voter_name(event.values["voter"])
            is_plain = not any(value.strip() for name, value in event.values.items() if name != "voter")
            spec = None if is_plain else voting.round_spec(event.values)
        except NegError as error:
            self.form.refuse(str(error))
            return
        beside(self, partial(self._submit, voter, spec), "begin")

    async def _submit(self, voter: str, spec: RoundSpec | None) -> None:
        if await self._open(voter, spec):
            self.form.display = False
            self.set_focus(None)

    def on_text_form_closed(self, event: TextForm.Closed) -> None:
        self.set_focus(None)
        self._show_results()

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key that has nothing to do here is free for what it does everywhere."""
        if action in ("choose", "vote", "zoom", "look", "undo", "close"):
            # Also behind the last question: one more 1 must not lead to screen 1.
            return self.round is not None
        if action in ("new", "scroll"):
            return self.round is None and self.votes is not None
        return True

    def go_back(self) -> bool:
        """Zoom, form, then screen 4; a round stays open."""
        if self.form.is_open:
            self.form.action_close()
        elif self.seen.zoom:
            self.action_zoom(-comparing.MAX_ZOOM)
        else:
            self.app.switch_screen("compare")
        return True

    def action_choose(self, place: str) -> None:
        """`left`, `middle`, `right`, or a number from 1."""
        trial = self.trial
        names = PLACES[len(trial.paths)] if trial is not None else ()
        number = int(place) - 1 if place.isdecimal() else names.index(place) if place in names else len(names)
        if number < len(names):
            self.action_vote(CHOICES[number])

    def action_vote(self, choice: Choice) -> None:
        # A key that comes before the pictures is no opinion about them.
        if self.trial is not None and self.round is not None and self.is_shown:
            self._send(CastVote(**self.place, round_id=self.round.round.id, number=self.trial.number, choice=choice))

    def action_undo(self) -> None:
        if self.round is None or self.round.last_number is None:
            self.negtui.say("There is no answer to take back.", "warning")
            return
        self._send(UndoVote(**self.place, round_id=self.round.round.id, number=self.round.last_number))

    def _send(self, command: CastVote | UndoVote) -> None:
        """One at a time."""
        if not self._is_busy:
            self._is_busy = True
            beside(self, partial(self._sent, command), "send", exclusive=False)

    async def _sent(self, command: CastVote | UndoVote) -> None:
        try:
            answer = await self.negtui.ask(command)
        finally:
            self._is_busy = False
        # Meanwhile another comparison's round may be asked.
        if isinstance(answer, RoundAnswer) and self.round is not None and answer.round.id == self.round.round.id:
            self._take(answer)

    @work(group="close", exclusive=True)
    async def action_close(self) -> None:
        if self.round is None:
            return
        row = self.round.round
        left = row.num_trials - row.num_voted
        question = (
            f"Close the round with {quantity(left, 'question')} unanswered?" if left else "Close the round? It cannot be changed then."
        )
        if await self.negtui.confirm(question):
            answer = await self.negtui.ask(CloseRound(**self.place, round_id=row.id))
            if isinstance(answer, VotesAnswer) and self.round is not None and self.round.round.id == row.id:
                self.votes = answer
                self._show_results()

    def action_new(self) -> None:
        if self.round is None:
            beside(self, self._open_form, "form", exclusive=False)

    def action_scroll(self, by: int) -> None:
        self.query_one("#vote-results", VerticalScroll).scroll_relative(y=by, animate=False)
