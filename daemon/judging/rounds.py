"""Rounds of blind votes on finished comparisons: opened, answered, undone, closed. What is answered is on the disk before.

The answer key (which arm painted which picture) stays here until a round is closed. One thread at a time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon.judging.plan import Ballot, plan_round
from daemon.judging.votes import CHOICES, Closed, Opened, Round, Undone, Voted, append, read_rounds
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.errors import NegError
from daemon.protocol.results import ComparedBlock, RoundAnswer
from daemon.protocol.voting import Choice, RoundSpec, Trial
from daemon.sessions.results import Comparisons

NUM_AHEAD = 4
"""Trials that are told at once, so that their pictures can be fetched while the first one is looked at."""


@dataclass(frozen=True)
class Judged:
    """A comparison as it is now, with its rounds."""

    session: str
    name: str
    folder: Path
    arms: tuple[str, ...]
    blocks: tuple[ComparedBlock, ...]
    rounds: dict[str, Round]

    @property
    def pictures(self) -> list[tuple[str, int, str, str]]:
        """(prompt, seed, arm, sha256) of every picture."""
        return [
            (block.prompt, block.seed, arm, cell.image.sha256)
            for block in self.blocks
            for arm, cell in zip(self.arms, block.cells, strict=True)
        ]

    @property
    def pictures_sha256(self) -> str:
        return canonical_sha256(self.pictures)


class Rounds:
    """The rounds of the sessions below `comparisons`. All methods raise `NegError` `not_found` where a name or id is not there."""

    def __init__(self, comparisons: Comparisons) -> None:
        self._comparisons = comparisons

    def judged(self, session: str, name: str) -> Judged:
        """A comparison with its rounds, read from the disk."""
        folder, arms, blocks = self._comparisons.whole(session, name)
        return Judged(session, name, folder, tuple(arm.name for arm in arms), blocks, read_rounds(folder))

    def open(self, session: str, name: str, voter: str, spec: RoundSpec | None) -> tuple[RoundAnswer, bool, list[Round]]:
        """The voter's open round or a new one, whether it is new, and the rounds closed for it, since their pictures are gone.

        Raises `conflict` where the open one is another round than `spec` asks for.
        """
        judged = self.judged(session, name)
        own = [found for found in judged.rounds.values() if found.opened.voter == voter]
        standing = [found for found in own if not found.is_closed]
        outdated = [found for found in standing if found.opened.pictures_sha256 != judged.pictures_sha256]
        for found in outdated:
            self._close(judged, found)
        for found in standing:
            if found not in outdated:
                _require_same(found, spec)
                return self._answer(judged, found), False, outdated
        spec = spec or RoundSpec()
        spec = msgspec.structs.replace(spec, seed=len(own) if spec.seed is None else spec.seed)
        ballots = plan_round(spec, voter, judged.arms, judged.blocks)
        opened = Opened(
            round_id=secrets.token_hex(6),
            time=time.time(),
            voter=voter,
            spec=spec,
            arms=judged.arms,
            pictures_sha256=judged.pictures_sha256,
            num_trials=len(ballots),
        )
        append(judged.folder, opened)
        return self._answer(judged, Round(opened)), True, outdated

    def cast(self, session: str, name: str, round_id: str, number: int, choice: Choice) -> RoundAnswer:
        """Answer a trial. Raises `invalid` (no such trial or picture), `conflict` (answered otherwise), `wrong_state` (closed)."""
        judged, found = self._open_round(session, name, round_id)
        ballots = _ballots(judged, found)
        if number >= len(ballots):
            raise NegError("invalid", f"This round has {len(ballots)} questions, from 0; {number} was answered.")
        ballot, place = ballots[number], CHOICES.index(choice) if choice in CHOICES else None
        if place is not None and place >= len(ballot.arms):
            raise NegError("invalid", f"{len(ballot.arms)} pictures are shown; there is no {choice} one.")
        standing = found.votes.get(number)
        if standing is not None and standing.choice != choice:
            raise NegError("conflict", f"Question {number + 1} is answered already: {standing.choice}.", "Undo that answer first.")
        if standing is None:
            found.votes[number] = _voted(found, ballot, choice, "" if place is None else ballot.arms[place])
            append(judged.folder, found.votes[number])
        return self._answer(judged, found, ballots)

    def undo(self, session: str, name: str, round_id: str, number: int) -> RoundAnswer:
        """Take an answer back, if there is one. Raises `wrong_state` (closed)."""
        judged, found = self._open_round(session, name, round_id)
        ballots = _ballots(judged, found)
        if found.votes.pop(number, None) is not None:
            append(judged.folder, Undone(round_id=round_id, time=time.time(), number=number))
        return self._answer(judged, found, ballots)

    def close(self, session: str, name: str, round_id: str) -> Judged:
        """End a round; one that is closed stays so."""
        judged = self.judged(session, name)
        found = _find(judged, round_id)
        if not found.is_closed:
            self._close(judged, found)
        return judged

    def _close(self, judged: Judged, found: Round) -> None:
        append(judged.folder, Closed(round_id=found.id, time=time.time()))
        found.is_closed = True

    def _open_round(self, session: str, name: str, round_id: str) -> tuple[Judged, Round]:
        judged = self.judged(session, name)
        found = _find(judged, round_id)
        if found.is_closed:
            raise NegError("wrong_state", f"This round of {found.opened.voter} is closed.", "Open another one.")
        return judged, found

    def _answer(self, judged: Judged, found: Round, ballots: Sequence[Ballot] | None = None) -> RoundAnswer:
        ballots = _ballots(judged, found) if ballots is None else ballots
        ahead = [ballot for ballot in ballots if ballot.number not in found.votes][:NUM_AHEAD]
        return RoundAnswer(
            session=judged.session,
            comparison=judged.name,
            round=found.row,
            trials=tuple(_trial(ballot) for ballot in ahead),
            last_number=next(reversed(found.votes), None),
        )


def _find(judged: Judged, round_id: str) -> Round:
    if round_id not in judged.rounds:
        raise NegError("not_found", f"{judged.session}/{judged.name} has no round {round_id}.", "`negtui votes` lists them.")
    return judged.rounds[round_id]


def _ballots(judged: Judged, found: Round) -> tuple[Ballot, ...]:
    """The round's questions; a function of what its first line tells and of the pictures."""
    if found.opened.pictures_sha256 != judged.pictures_sha256:
        message = f"The pictures of {judged.session}/{judged.name} were painted anew since this round was opened."
        raise NegError("conflict", message, "Open a round again: it starts from the pictures as they are.")
    return plan_round(found.opened.spec, found.opened.voter, judged.arms, judged.blocks)


def _require_same(found: Round, spec: RoundSpec | None) -> None:
    wanted = found.opened.spec if spec is None else spec
    if wanted.seed is None:
        wanted = msgspec.structs.replace(wanted, seed=found.opened.spec.seed)
    if wanted != found.opened.spec:
        row = found.row
        message = f"{row.voter} has another round open: {row.num_voted} of {row.num_trials} questions are answered."
        raise NegError("conflict", message, "Go on with it, or close it first.")


def _voted(found: Round, ballot: Ballot, choice: Choice, chosen: str) -> Voted:
    return Voted(
        round_id=found.id,
        time=time.time(),
        voter=found.opened.voter,
        number=ballot.number,
        prompt=ballot.prompt,
        seed=ballot.seed,
        arms=ballot.arms,
        sha256s=tuple(cell.image.sha256 for cell in ballot.cells),
        choice=choice,
        chosen=chosen,
        is_repeat=ballot.repeats is not None,
    )


def _trial(ballot: Ballot) -> Trial:
    request = ballot.cells[0].image.request
    paths = tuple(cell.image.path for cell in ballot.cells)
    return Trial(number=ballot.number, prompt=ballot.prompt, paths=paths, width=request.width, height=request.height)
