"""A daemon of scripts whose rounds of votes are the real ones, on a comparison in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from daemon.judging.results import read_results
from daemon.judging.rounds import Judged, Rounds
from daemon.judging.votes import read_votes
from daemon.protocol.commands import (
    AnyCommand,
    AnyResult,
    CastVote,
    CloseRound,
    ListVotes,
    OpenRound,
    ReadVotes,
    SessionRow,
    UndoVote,
    Votes,
    VotesAnswer,
)
from daemon.protocol.events import RoundClosed, VoteCast, VoteUndone
from daemon.sessions import Comparisons
from tests.curation_daemon import CurationDaemon, painting, png
from tests.fake_client import FakeClient
from tests.judged_blocks import blocks, write_comparison

ROWS = (SessionRow(name="toy", num_images=6, adapters=("wrong",), comparisons=("default",)),)


class VotingDaemon(CurationDaemon):
    """Session `toy`, comparison `default`, below `folder`."""

    def __init__(self, folder: Path, num_prompts: int = 4) -> None:
        super().__init__()
        comparison = folder / "toy/comparisons/default"
        comparison.mkdir(parents=True)
        (folder / "toy/session.toml").write_text('[model]\nbase = "toy"\n')
        self.judged_blocks = blocks(num_prompts)
        write_comparison(comparison, self.judged_blocks)
        self.rounds = Rounds(Comparisons(folder))

    async def request(self, command: AnyCommand) -> AnyResult:
        match command:
            case OpenRound():
                answer: AnyResult = self.rounds.open(command.session, command.comparison, command.voter, command.spec)[0]
            case CastVote():
                answer = self.rounds.cast(command.session, command.comparison, command.round_id, command.number, command.choice)
                self.pending.append(self._told(VoteCast, command, voter=answer.round.voter, number=command.number, choice=command.choice))
            case UndoVote():
                answer = self.rounds.undo(command.session, command.comparison, command.round_id, command.number)
                self.pending.append(self._told(VoteUndone, command, voter=answer.round.voter, number=command.number))
            case CloseRound():
                answer = _votes(self.rounds.close(command.session, command.comparison, command.round_id))
                self.pending.append(self._told(RoundClosed, command, voter="me", num_votes=0))
            case ReadVotes():
                answer = _votes(self.rounds.judged(command.session, command.comparison))
            case ListVotes():
                votes = read_votes(self.rounds.judged(command.session, command.comparison).folder)
                answer = Votes(votes=votes[command.after : command.after + 2], total=len(votes))
            case _:
                return await super().request(command)
        self.asked.append(command)
        return answer

    @staticmethod
    def _told(kind, command, **fields):  # type: ignore[no-untyped-def]
        return kind(session=command.session, comparison=command.comparison, round_id=command.round_id, **fields)


def _votes(judged: Judged) -> VotesAnswer:
    return VotesAnswer(
        session=judged.session,
        comparison=judged.name,
        arms=judged.arms,
        num_blocks=len(judged.blocks),
        rounds=tuple(found.row for found in judged.rounds.values()),
        results=read_results(judged.folder, judged.arms, set(judged.pictures)),
    )


def client(daemon: VotingDaemon) -> FakeClient:
    """A client of it, with every picture as a file."""
    found = FakeClient(daemon, ROWS)
    for number, block in enumerate(daemon.judged_blocks):
        for place, cell in enumerate(block.cells):
            found.files["toy", cell.image.path] = png(painting(10 * number + place))
    return found
