from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from daemon.protocol.commands import CastVote, CloseRound, OpenRound
from daemon.protocol.voting import RoundSpec
from tests.fake_daemon import call
from tests.voting_daemon import VotingDaemon


@pytest.fixture
def daemon(tmp_path: Path) -> VotingDaemon:
    """`me` has closed a round of eight votes, `you` has one open."""
    made, place = VotingDaemon(tmp_path, num_prompts=8), {"session": "toy", "comparison": "default"}

    async def scene() -> None:
        for voter in ("me", "you"):
            answer: Any = await made.request(OpenRound(**place, voter=voter, spec=RoundSpec(num_trials=8, repeat_share=0)))
            for number in range(8):
                await made.request(CastVote(**place, round_id=answer.round.id, number=number, choice="first"))
            if voter == "me":
                await made.request(CloseRound(**place, round_id=answer.round.id))

    asyncio.run(scene())
    return made


def test_the_table_counts_closed_rounds_only(daemon: VotingDaemon) -> None:
    code, stdout, _ = call(daemon, "votes", "toy")
    assert code == 0
    assert "toy/default: votes" in stdout
    assert "you    8 of 8    open: not counted" in stdout
    assert "8 votes on 8 prompts in 1 closed round" in stdout
    assert max(map(len, stdout.splitlines()[4:])) <= 400


def test_json_holds_all_figures(daemon: VotingDaemon) -> None:
    code, stdout, _ = call(daemon, "votes", "toy", "default", "--json")
    found = json.loads(stdout)["votes"]
    assert code == 0
    assert found["results"]["num_votes"] == 8
    assert {"win_rate", "low", "high", "verdict"} <= set(found["results"]["preferences"][0])
    assert found["results"]["strengths"][0]["arm"] == "baseline"


def test_csv_holds_the_votes_of_closed_rounds(daemon: VotingDaemon) -> None:
    _, stdout, _ = call(daemon, "votes", "toy", "--csv")
    rows = list(csv.DictReader(io.StringIO(stdout)))
    assert [(row["voter"], row["number"]) for row in rows] == [("me", str(number)) for number in range(8)]
    assert all(row["chosen"] == row["arms"].split()[0] for row in rows)


def test_without_a_terminal_it_says_how(daemon: VotingDaemon) -> None:
    code, _, stderr = call(daemon, "vote", "toy", "--voter", "You")
    assert code == 2
    assert "Pictures are judged on a terminal. you has answered 8 of 8." in stderr
    assert "negtui vote toy default --voter you" in stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("vote", "toy", "--shown", "5"), "num_shown"),
        (("vote", "toy", "--voter", "..."), "cannot name a voter"),
        (("votes", "toy", "nosuch"), "No comparison 'nosuch'"),
        (("votes", "Not A Name"), "cannot name a session"),
    ],
)
def test_bad_input_is_said(daemon: VotingDaemon, arguments: tuple[str, ...], said: str) -> None:
    code, _, stderr = call(daemon, *arguments)
    assert code == 2
    assert said in stderr
