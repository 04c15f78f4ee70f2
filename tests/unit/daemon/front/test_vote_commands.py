"""Handlers of blind votes over a real store and files, without sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.front.peers import Peer
from daemon.front.vote_commands import VoteCommands
from daemon.protocol import codec
from daemon.protocol.commands import CastVote, CloseRound, ListVotes, OpenRound, ReadVotes, UndoVote
from daemon.protocol.errors import NegError
from daemon.protocol.events import RoundClosed, RoundOpened, VoteCast, VoteUndone
from daemon.protocol.voting import RoundSpec
from tests.job_specs import open_queue
from tests.judged_blocks import ARMS, blocks, write_comparison

PEER = Peer(id=b"a", heard=0.0, tokens=1.0)
PLACE = {"session": "fake", "comparison": "default"}


class Bench:
    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.commands = VoteCommands(queue, asyncio.Lock())

    async def do(self, command: Any) -> Any:
        return await self.commands.table()[type(command)](command, PEER)

    async def told(self) -> list[Any]:
        return [codec.decode_event(one.body) for one in await self.queue.log.read(0)]


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    async with open_queue(folder) as queue:
        comparison = folder / "sessions/fake/comparisons/default"
        comparison.mkdir(parents=True, exist_ok=True)
        (folder / "sessions/fake/session.toml").write_text('[model]\nbase = "toy"\n')
        write_comparison(comparison, blocks(8))
        yield Bench(queue)


def test_a_round_is_told_as_it_goes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with bench(tmp_path) as made:
            opened = await made.do(OpenRound(**PLACE, voter="me", spec=RoundSpec(num_trials=3, repeat_share=0)))
            id = opened.round.id
            assert (await made.do(OpenRound(**PLACE, voter="me"))).round.id == id
            own = {**PLACE, "round_id": id}
            await made.do(CastVote(**own, number=0, choice="first"))
            await made.do(CastVote(**own, number=0, choice="first"))
            undone = await made.do(UndoVote(**own, number=0))
            assert undone.trials[0].number == 0
            await made.do(CastVote(**own, number=0, choice="both_bad"))
            assert (await made.do(ReadVotes(**PLACE))).results is None
            assert (await made.do(ListVotes(**PLACE))).votes == ()
            closed = await made.do(CloseRound(**own))
            assert (closed.arms, closed.num_blocks, [row.is_closed for row in closed.rounds]) == (ARMS, 8, [True])
            assert (closed.results.num_votes, closed.results.both_bad_rate) == (1, 1.0)
            assert await made.do(ReadVotes(**PLACE)) == closed
            who = {**own, "voter": "me"}
            assert await made.told() == [
                RoundOpened(**who, num_trials=3),
                *[VoteCast(**who, number=0, choice="first")] * 2,
                VoteUndone(**who, number=0),
                VoteCast(**who, number=0, choice="both_bad"),
                RoundClosed(**who, num_votes=1),
            ]

    asyncio.run(scene())


def test_votes_come_in_pages(tmp_path: Path) -> None:
    async def scene() -> None:
        async with bench(tmp_path) as made:
            id = (await made.do(OpenRound(**PLACE, voter="me"))).round.id
            for number in range(5):
                await made.do(CastVote(**PLACE, round_id=id, number=number, choice="tie"))
            await made.do(CloseRound(**PLACE, round_id=id))
            pages = [await made.do(ListVotes(**PLACE, after=after, limit=3)) for after in (0, 3, 5)]
            assert [[vote.number for vote in page.votes] for page in pages] == [[0, 1, 2], [3, 4], []]
            assert {page.total for page in pages} == {5}

    asyncio.run(scene())


def test_what_outlives_the_database(tmp_path: Path) -> None:
    """Another database, the same folder: the round goes on, its votes count."""

    async def scene() -> None:
        async with bench(tmp_path) as made:
            id = (await made.do(OpenRound(**PLACE, voter="me"))).round.id
            await made.do(CastVote(**PLACE, round_id=id, number=0, choice="first"))
            store = made.queue.store.path
        for path in store.parent.glob(f"{store.name}*"):
            path.unlink()
        async with bench(tmp_path) as anew:
            again = await anew.do(OpenRound(**PLACE, voter="me"))
            assert (again.round.id, again.round.num_voted) == (id, 1)
            assert (await anew.do(CloseRound(**PLACE, round_id=id))).results.num_votes == 1

    asyncio.run(scene())


def test_refusals_change_nothing_and_tell_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with bench(tmp_path) as made:
            for command in (
                ReadVotes(session="fake", comparison="nosuch"),
                CloseRound(**PLACE, round_id="a" * 12),
                OpenRound(**PLACE, voter="me", spec=RoundSpec(arms=("target", "nosuch"))),
            ):
                with pytest.raises(NegError):
                    await made.do(command)
            assert await made.told() == []
            assert not (tmp_path / "sessions/fake/comparisons/default/votes.jsonl").exists()

    asyncio.run(scene())
