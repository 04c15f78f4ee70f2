"""What the daemon does for blind votes: one after another, each on the disk before it is told and answered."""

from __future__ import annotations

import asyncio
import os

from daemon.front.peers import Peer
from daemon.front.router import Table
from daemon.jobs.queue import JobQueue
from daemon.judging.rounds import Judged, Rounds
from daemon.judging.votes import Round, read_votes
from daemon.protocol import codec
from daemon.protocol.commands import CastVote, CloseRound, ListVotes, OpenRound, ReadVotes, RoundAnswer, UndoVote, Votes, VotesAnswer
from daemon.protocol.events import RoundClosed, RoundOpened, VoteCast, VoteUndone
from daemon.protocol.voting import VoteResults
from daemon.sessions import Comparisons


class VoteCommands:
    """Handlers over the sessions' comparisons. `marking` is held by who changes a session's files."""

    def __init__(self, queue: JobQueue, marking: asyncio.Lock) -> None:
        self._log = queue.log
        self._marking = marking
        self._rounds = Rounds(Comparisons(queue.sessions_path))

    def table(self) -> Table:
        return {
            OpenRound: self.open,
            CastVote: self.cast,
            UndoVote: self.undo,
            CloseRound: self.close,
            ReadVotes: self.read,
            ListVotes: self.list,
        }

    async def open(self, command: OpenRound, peer: Peer) -> RoundAnswer:
        session, name = command.session, command.comparison
        async with self._marking:
            answer, is_new, outdated = await asyncio.to_thread(self._rounds.open, session, name, command.voter, command.spec)
            for found in outdated:
                await self._log.append(_closed(session, name, found))
            row = answer.round
            if is_new:
                opened = RoundOpened(session=session, comparison=name, round_id=row.id, voter=row.voter, num_trials=row.num_trials)
                await self._log.append(opened)
        return answer

    async def cast(self, command: CastVote, peer: Peer) -> RoundAnswer:
        place = command.session, command.comparison, command.round_id
        async with self._marking:
            answer = await asyncio.to_thread(self._rounds.cast, *place, command.number, command.choice)
            # Told also where it stood already: the daemon may have been killed between the file and the log.
            await self._log.append(
                VoteCast(
                    session=command.session,
                    comparison=command.comparison,
                    round_id=command.round_id,
                    voter=answer.round.voter,
                    number=command.number,
                    choice=command.choice,
                )
            )
        return answer

    async def undo(self, command: UndoVote, peer: Peer) -> RoundAnswer:
        place = command.session, command.comparison, command.round_id
        async with self._marking:
            answer = await asyncio.to_thread(self._rounds.undo, *place, command.number)
            await self._log.append(
                VoteUndone(
                    session=command.session,
                    comparison=command.comparison,
                    round_id=command.round_id,
                    voter=answer.round.voter,
                    number=command.number,
                )
            )
        return answer

    async def close(self, command: CloseRound, peer: Peer) -> VotesAnswer:
        async with self._marking:
            judged = await asyncio.to_thread(self._rounds.close, command.session, command.comparison, command.round_id)
            await self._log.append(_closed(command.session, command.comparison, judged.rounds[command.round_id]))
        return await asyncio.to_thread(_votes_answer, judged)

    async def read(self, command: ReadVotes, peer: Peer) -> VotesAnswer:
        judged = await asyncio.to_thread(self._rounds.judged, command.session, command.comparison)
        return await asyncio.to_thread(_votes_answer, judged)

    async def list(self, command: ListVotes, peer: Peer) -> Votes:
        judged = await asyncio.to_thread(self._rounds.judged, command.session, command.comparison)
        votes = await asyncio.to_thread(read_votes, judged.folder)
        return Votes(votes=codec.fitting(votes[command.after : command.after + command.limit]), total=len(votes))


def _closed(session: str, name: str, found: Round) -> RoundClosed:
    return RoundClosed(session=session, comparison=name, round_id=found.id, voter=found.opened.voter, num_votes=len(found.votes))


def _votes_answer(judged: Judged) -> VotesAnswer:
    return VotesAnswer(
        session=judged.session,
        comparison=judged.name,
        arms=judged.arms,
        num_blocks=len(judged.blocks),
        rounds=tuple(found.row for found in judged.rounds.values()),
        results=_results(judged) if any(found.is_closed for found in judged.rounds.values()) else None,
    )


def _results(judged: Judged) -> VoteResults | None:
    # Its numpy is loaded when there is something to compute; OpenBLAS would take 40 MB a core of the front's bounded memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from daemon.judging.results import read_results

    return read_results(judged.folder, judged.arms, set(judged.pictures))
