from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.containers import VerticalScroll
from textual.pilot import Pilot

from daemon.protocol.commands import AnyCommand, AnyResult, CastVote, CloseRound, OpenRound, ReadComparison, UndoVote
from daemon.protocol.events import VoteCast
from daemon.protocol.voting import RoundSpec
from negtui.app import NegtuiApp
from negtui.keys import KEYS
from negtui.screens.compare import CompareScreen
from negtui.screens.vote import VoteScreen
from negtui.voting import Voting
from tests.curation_daemon import in_loop, press, told
from tests.fake_client import FakeClient
from tests.judged_blocks import ARMS
from tests.snapshots.screens import SIZES, matches, settled, text_of
from tests.voting_daemon import ROWS, VotingDaemon, client


def app(found: FakeClient, spec: RoundSpec | None = RoundSpec(num_trials=5, repeat_share=0), **named: object) -> NegtuiApp:  # noqa: B008
    return NegtuiApp(found.connect, voting=Voting("toy", "default", "me", spec), **named)  # type: ignore[arg-type]


async def opened(pilot: Pilot[None]) -> VoteScreen:
    screen = pilot.app.screen
    assert isinstance(screen, VoteScreen)
    for _ in range(60):
        await pilot.pause(0.05)
        if screen.trial is not None and "▀" in text_of(pilot.app):
            break
    return screen


async def answer(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, each once the pictures that it is about stand there."""
    screen = pilot.app.screen
    assert isinstance(screen, VoteScreen)
    for key in keys:
        for _ in range(200):
            if screen.is_shown or screen.trial is None:
                break
            await pilot.pause(0.05)
        await press(pilot, key)


async def seen(pilot: Pilot[None], words: str) -> bool:
    """Whether these words come to stand on the screen."""
    for _ in range(100):
        if words in text_of(pilot.app):
            return True
        await pilot.pause(0.05)
    return False


def choices(found: FakeClient) -> list[tuple[int, str]]:
    return [(one.number, one.choice) for one in found.daemon.asked if isinstance(one, CastVote)]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (60, 20)])
@in_loop
async def test_pictures_stand_side_by_side_without_a_name(size: tuple[int, int], tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found).run_test(size=size) as pilot:
        await opened(pilot)
        text = text_of(pilot.app)
        assert "question 1 of 5" in text
        assert "a scene" in text
        assert "1 left" in text
        assert "2 right" in text
        assert not [arm for arm in ARMS if arm in text]
        assert not [one for one in found.daemon.asked if isinstance(one, ReadComparison)]


@in_loop
async def test_every_answer_has_its_key(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found, RoundSpec(repeat_share=0)).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await answer(pilot, "left", "right", "1", "2", "t", "equals_sign", "b", "s", "3", "down")
        assert choices(found) == list(enumerate(["first", "second", "first", "second", "tie", "tie", "both_bad", "skip"]))
        assert pilot.app.screen is screen


@in_loop
async def test_of_three_the_middle_one_has_keys_too(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found, RoundSpec(num_shown=3, repeat_share=0)).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert "2 middle" in text_of(pilot.app)
        await answer(pilot, "down", "right", "2", "3", "3", "1")
        assert choices(found) == list(enumerate(["second", "third", "second", "third"]))
        assert "all 4 questions answered" in text_of(pilot.app)


@in_loop
async def test_undo_brings_the_question_back(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "u")
        assert "no answer to take back" in told(pilot.app)
        first = screen.trial
        await answer(pilot, "1")
        await press(pilot, "u")
        await pilot.pause(0.2)
        assert screen.trial == first
        assert [one.number for one in found.daemon.asked if isinstance(one, UndoVote)] == [0]
        await answer(pilot, "2")
        assert choices(found) == [(0, "first"), (0, "second")]


@in_loop
async def test_a_second_key_before_the_answer_is_no_vote(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        screen.action_choose("1")
        screen.action_choose("1")
        await pilot.pause(0.2)
        assert choices(found) == [(0, "first")]


@in_loop
async def test_a_key_before_the_pictures_is_no_vote(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    may_come = asyncio.Event()
    fetch = found.fetch

    async def slowly(session: str, path: str) -> bytes:
        await may_come.wait()
        return await fetch(session, path)

    found.fetch = slowly  # type: ignore[method-assign]
    async with app(found).run_test(size=(80, 24)) as pilot:
        assert await seen(pilot, "question 1 of 5")
        await press(pilot, "1", "t", "s")
        assert choices(found) == []
        may_come.set()
        await answer(pilot, "2")
        assert choices(found) == [(0, "second")]


@in_loop
async def test_an_answer_about_another_comparison_comes_too_late(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        may_answer = asyncio.Event()
        ask = found.daemon.request

        async def slowly(command: AnyCommand) -> AnyResult:
            given = await ask(command)
            if isinstance(command, CastVote):
                await may_answer.wait()
            return given

        found.daemon.request = slowly  # type: ignore[method-assign]
        await answer(pilot, "1")
        found.daemon.rounds.open("toy", "default", "you", RoundSpec(num_trials=3))  # type: ignore[attr-defined]
        screen.negtui.voting = Voting("toy", "default", "you")
        screen.refresh_view()
        assert await seen(pilot, "question 1 of 3")
        may_answer.set()
        await pilot.pause(0.3)
        assert "question 1 of 3" in text_of(pilot.app)


@in_loop
async def test_names_are_told_once_the_round_is_closed_after_a_yes(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found).run_test(size=(100, 40)) as pilot:
        screen = await opened(pilot)
        await answer(pilot, "1", "2")
        await press(pilot, "c")
        assert "3 questions unanswered" in text_of(pilot.app)
        await press(pilot, "n")
        assert screen.round is not None
        await press(pilot, "c", "y")
        assert await seen(pilot, "Too few prompts for a verdict")
        text = text_of(pilot.app)
        assert [type(one) for one in found.daemon.asked].count(CloseRound) == 1
        assert "2 votes on 2 prompts in 1 closed round" in text
        assert "Bradley-Terry" in text
        assert "target" in text
        await pilot.resize_terminal(60, 20)
        results = screen.query_one("#vote-results", VerticalScroll)
        await press(pilot, "pagedown")
        assert results.scroll_y > 0
        await press(pilot, "pageup")
        assert results.scroll_y == 0


@in_loop
async def test_leaving_and_coming_back_goes_on_where_it_was(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await answer(pilot, "1", "1")
        await press(pilot, "escape")
        assert await seen(pilot, "toy/default: 3 arms, 3 blocks")
        assert isinstance(pilot.app.screen, CompareScreen)
        await press(pilot, "V")
        assert await seen(pilot, "question 3 of 5")
    async with app(found, None).run_test(size=(80, 24)) as pilot:
        assert await seen(pilot, "question 3 of 5")
        assert "Going on with the round of me: 3 of 5." in told(pilot.app)


@in_loop
async def test_a_round_is_set_up_in_a_form_that_says_what_is_wrong(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found, None).run_test(size=(80, 24)) as pilot:
        assert await seen(pilot, "A round of blind votes on toy/default")
        await press(pilot, "enter", *"target,placebo", "enter", *"five", "enter", "enter", "enter")
        assert "num_shown: 'five' is no number" in text_of(pilot.app)
        await press(pilot, "up", "up", *["backspace"] * 4, "3", "enter", "enter", "enter")
        assert "3 pictures at once need as many arms; there are 2." in text_of(pilot.app)
        await press(pilot, "up", "up", "backspace", "2", "enter", "4", "enter", "0", "enter")
        screen = await opened(pilot)
        spec = RoundSpec(arms=("target", "placebo"), num_shown=2, num_trials=4, repeat_share=0)
        assert [one.spec for one in found.daemon.asked if isinstance(one, OpenRound)] == [spec], "what is refused is not asked twice"
        assert screen.round is not None
        assert (screen.round.round.voter, screen.round.round.num_trials) == ("me", 4)


@in_loop
async def test_a_form_left_to_itself_goes_on_with_an_open_round(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    found.daemon.rounds.open("toy", "default", "you", RoundSpec(num_trials=3))  # type: ignore[attr-defined]
    async with app(found, None).run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.5)
        await press(pilot, *["backspace"] * 2, *"you", *["enter"] * 5)
        screen = await opened(pilot)
        assert screen.round is not None
        assert (screen.round.round.voter, screen.round.round.num_trials) == ("you", 3)


@in_loop
async def test_zoom_shows_all_pictures_closer_and_esc_goes_back(tmp_path: Path) -> None:
    async with app(client(VotingDaemon(tmp_path))).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "z", "z", "L")
        assert "x4" in text_of(pilot.app)
        assert screen.seen.centre[0] > 0.5
        await press(pilot, "H", "J")
        assert (screen.seen.centre[0], screen.seen.centre[1] > 0.5) == (0.5, True)
        await press(pilot, "K")
        assert screen.seen.centre == (0.5, 0.5)
        await press(pilot, "Z")
        assert screen.seen.zoom == 1
        await press(pilot, "escape")
        assert screen.seen.zoom == 0
        assert pilot.app.screen is screen


@in_loop
async def test_another_screen_of_the_same_voter_is_followed(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        assert screen.round is not None
        id = screen.round.round.id
        found.daemon.rounds.cast("toy", "default", id, 0, "tie")  # type: ignore[attr-defined]
        found.tell(VoteCast(session="toy", comparison="default", round_id=id, voter="me", number=0, choice="tie"))
        assert await seen(pilot, "question 2 of 5")


@in_loop
async def test_read_only_looks_and_never_votes(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found, read_only=True).run_test(size=(80, 24)) as pilot:
        assert await seen(pilot, "No round of votes is closed yet")
        assert "--read-only" in told(pilot.app)
        assert not [one for one in found.daemon.asked if isinstance(one, (OpenRound, CastVote))]


@in_loop
async def test_screens_keep_their_number_keys_where_nothing_is_asked(tmp_path: Path) -> None:
    async with app(client(VotingDaemon(tmp_path)), read_only=True).run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.6)
        await press(pilot, "1")
        assert "[1 Sessions]" in text_of(pilot.app)


@in_loop
async def test_without_a_comparison_it_says_where_to_go() -> None:
    from tests.curation_daemon import client as plain

    async with NegtuiApp(plain(sessions=ROWS).connect, start="vote").run_test(size=(80, 24)) as pilot:
        assert await seen(pilot, "Choose a comparison on screen 4 first")


@in_loop
async def test_every_key_has_its_action(tmp_path: Path) -> None:
    async with app(client(VotingDaemon(tmp_path))).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        for key in KEYS["vote"]:
            assert hasattr(screen, f"action_{key.action.partition('(')[0]}"), key.id


@pytest.mark.parametrize("size", SIZES)
@in_loop
async def test_it_looks_as_it_did(size: tuple[int, int], tmp_path: Path) -> None:
    async with app(client(VotingDaemon(tmp_path))).run_test(size=size) as pilot:
        await opened(pilot)
        assert matches(f"vote-{size[0]}x{size[1]}", await settled(pilot))
