"""Blind votes over a real front: what was answered outlives kill -9 of the daemon at any moment."""

import asyncio
import contextlib
import random
import threading
import time
from typing import Any

import pytest

from daemon.judging.votes import read_rounds
from daemon.protocol.commands import CastVote, OpenRound, RoundAnswer, UndoVote
from daemon.protocol.errors import NegError
from daemon.protocol.events import VoteCast
from daemon.protocol.voting import RoundSpec
from negtui.client import Client
from negtui.line import NoReply
from tests.judged_blocks import blocks, write_comparison

PLACE = {"session": "fake", "comparison": "default"}


def judged_session(front: Any, num_prompts: int) -> Any:
    folder = front.places.sessions_path / "fake/comparisons/default"
    folder.mkdir(parents=True)
    write_comparison(folder, blocks(num_prompts))
    return folder


async def sure(client: Client, command: Any) -> Any:
    """The answer; a command whose outcome is unknown is sent again, as the contract allows."""
    while True:
        with contextlib.suppress(NoReply):
            return await client.request(command)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("num_kills", [5, pytest.param(60, marks=pytest.mark.full)])
def test_no_answered_vote_is_lost_by_kills(front: Any, num_kills: int) -> None:
    """A client votes on, undoing now and then, while the daemon is killed; what the answers said is what stands."""
    folder = judged_session(front, 40)
    chance, standing, ended = random.Random(1), {}, threading.Event()
    answer: RoundAnswer | None = None

    def kill() -> None:
        for _ in range(num_kills):
            time.sleep(chance.uniform(0.1, 0.4))
            front.kill()
            front.start()
        ended.set()

    async def scene() -> None:
        nonlocal answer
        async with Client.connect(front.endpoints) as client:
            answer = await client.request(OpenRound(**PLACE, voter="me", spec=RoundSpec(repeat_share=0)))
            thread = threading.Thread(target=kill)
            thread.start()
            own = {**PLACE, "round_id": answer.round.id}
            while not ended.is_set() or len(standing) < 20:
                if standing and (chance.random() < 0.3 or not answer.trials):
                    number = answer.last_number
                    assert number is not None
                    answer = await sure(client, UndoVote(**own, number=number))
                    del standing[number]
                else:
                    number, choice = answer.trials[0].number, chance.choice(["first", "second", "tie", "both_bad", "skip"])
                    answer = await sure(client, CastVote(**own, number=number, choice=choice))
                    standing[number] = choice
                assert answer.round.num_voted == len(standing)
            thread.join()

    asyncio.run(scene())
    assert answer is not None
    assert {number: vote.choice for number, vote in read_rounds(folder)[answer.round.id].votes.items()} == standing


def test_two_voters_at_once_and_a_third_who_watches(front: Any) -> None:
    judged_session(front, 10)

    async def vote(voter: str) -> None:
        async with Client.connect(front.endpoints) as client:
            answer: Any = await client.request(OpenRound(**PLACE, voter=voter, spec=RoundSpec(num_trials=8, repeat_share=0)))
            while answer.trials:
                answer = await client.request(CastVote(**PLACE, round_id=answer.round.id, number=answer.trials[0].number, choice="first"))

    async def scene() -> None:
        async with Client.connect(front.endpoints) as client:
            told = client.events(since_seq=client.welcome.head_seq if client.welcome else 0)
            await asyncio.gather(vote("me"), vote("you"))
            seen: list[tuple[str, int]] = []
            async for _, event in told:
                if isinstance(event, VoteCast):
                    seen.append((event.voter, event.number))
                if len(seen) == 16:
                    break
            assert sorted(seen) == [(voter, number) for voter in ("me", "you") for number in range(8)]
            with pytest.raises(NegError, match="no round"):
                await client.request(CastVote(**PLACE, round_id="0" * 12, number=0, choice="tie"))

    asyncio.run(scene())
