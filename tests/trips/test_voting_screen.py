"""Voters of known preference at the real voting screen, on a real daemon: what they prefer is found again, a coin finds no difference."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial

import pytest
from textual.pilot import Pilot

from daemon.protocol.voting import RoundSpec, Trial, VoteResults
from negtui.app import NegtuiApp
from negtui.client import Client
from negtui.screens.vote import VoteScreen
from negtui.voting import Voting
from tests.judged_blocks import blocks, write_comparison
from tests.snapshots.screens import text_of
from tests.trips.conftest import FrontProcess

NUM_PROMPTS = 24
STRENGTHS = {"baseline": 0.0, "placebo": 0.2, "target": 3.0}
KEYS = "12"
ARM_OF = {cell.image.path: cell.image.arm or "" for block in blocks(NUM_PROMPTS) for cell in block.cells}


def by_strength(trial: Trial, chance: random.Random) -> str:
    """Bradley and Terry's voter, who now and then sees no difference. Only the test knows whose pictures these are."""
    if chance.random() < 0.1:
        return "t"
    weights = [2.718281828 ** STRENGTHS[ARM_OF[path]] for path in trial.paths]
    return chance.choices(KEYS, weights)[0]


def has_voted(screen: VoteScreen, num_voted: int) -> bool:
    return screen.round is not None and screen.round.round.num_voted == num_voted


def by_coin(trial: Trial, chance: random.Random) -> str:
    return chance.choice(KEYS)


async def until(pilot: Pilot[None], is_so: Callable[[], bool]) -> None:
    for _ in range(600):
        if is_so():
            return
        await pilot.pause(0.05)
    raise AssertionError(text_of(pilot.app))


def voted(front: FrontProcess, voter: str, choose: Callable[[Trial, random.Random], str], seed: int) -> VoteResults:
    """Every pair of every prompt, asked and answered by keys; the results that the screen then shows."""
    folder = front.places.sessions_path / "fake/comparisons/default"
    folder.mkdir(parents=True)
    write_comparison(folder, blocks(NUM_PROMPTS))
    chance = random.Random(seed)

    async def scene() -> VoteResults:
        app = NegtuiApp(
            lambda on_contact, start: Client.connect(front.endpoints, on_contact=on_contact),
            voting=Voting("fake", "default", voter, RoundSpec(repeat_share=0.1)),
        )
        async with app.run_test(size=(80, 24)) as pilot:
            screen = app.screen
            assert isinstance(screen, VoteScreen)
            await until(pilot, lambda: screen.round is not None)
            while screen.trial is not None:
                num_voted = screen.round.round.num_voted if screen.round is not None else 0
                await until(pilot, lambda: screen.is_shown)
                await pilot.press(choose(screen.trial, chance))
                await until(pilot, partial(has_voted, screen, num_voted + 1))
            await pilot.press("c")
            await until(pilot, lambda: "Close the round?" in text_of(app))
            await pilot.press("y")
            await until(pilot, lambda: "Bradley-Terry" in text_of(app))
            assert screen.votes is not None
            assert screen.votes.results is not None
            return screen.votes.results

    return asyncio.run(scene())


@pytest.mark.parametrize("seed", [1])
def test_what_a_voter_prefers_is_found_again(front: FrontProcess, seed: int) -> None:
    found = voted(front, "bradley", by_strength, seed)
    assert (found.num_votes, found.num_prompts) == (3 * NUM_PROMPTS, NUM_PROMPTS)
    verdicts = {(one.arm, one.against): one.verdict for one in found.preferences}
    assert verdicts["target", "placebo"] == verdicts["target", "baseline"] == "better"
    assert found.verdict.startswith("target beats placebo")
    strengths = {one.arm: one for one in found.strengths}
    for arm, truth in STRENGTHS.items():
        low, high = strengths[arm].low, strengths[arm].high
        assert low is None or low <= truth
        assert high is None or truth <= high
    (voter,) = found.voters
    assert (voter.voter, voter.num_repeats) == ("bradley", 7)


@pytest.mark.parametrize("seed", [2])
def test_a_coin_finds_no_difference(front: FrontProcess, seed: int) -> None:
    found = voted(front, "coin", by_coin, seed)
    assert {one.verdict for one in found.preferences} <= {"unclear", "same"}
    assert "beats" not in found.verdict
    assert found.verdict.startswith("No clear difference between target and placebo")
