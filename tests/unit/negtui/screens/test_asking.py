"""The question itself; with keys and rounds it is in `test_vote.py`."""

from pathlib import Path

from negtui.screens.asking import ALL_ANSWERED
from negtui.widgets.arm_grid import BlockView
from negtui.widgets.image_view import ImageView
from tests.curation_daemon import in_loop
from tests.snapshots.screens import text_of
from tests.unit.negtui.screens.test_vote import answer, app, opened
from tests.voting_daemon import VotingDaemon, client


@in_loop
async def test_the_pictures_are_those_of_the_trial_in_its_order(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        for _ in range(3):
            trial = screen.trial
            assert trial is not None
            shown = [view.picture.path for view in screen.query_one(BlockView).query(ImageView) if view.picture is not None]
            assert shown == list(trial.paths)
            await answer(pilot, "1")
            await pilot.pause(0.2)


@in_loop
async def test_the_next_pictures_are_there_before_they_are_asked_about(tmp_path: Path) -> None:
    found = client(VotingDaemon(tmp_path))
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.pause(0.3)
        assert screen.round is not None
        fetched = {path for _, path in found.fetched}
        assert {path for trial in screen.round.trials for path in trial.paths} <= fetched


@in_loop
async def test_behind_the_last_question_it_says_what_is_left_to_do(tmp_path: Path) -> None:
    async with app(client(VotingDaemon(tmp_path))).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await answer(pilot, *"12tbs")
        await pilot.pause(0.3)
        assert screen.trial is None
        assert " ".join(ALL_ANSWERED.split()[:4]) in text_of(pilot.app)
        assert "all 5 questions answered" in text_of(pilot.app)
