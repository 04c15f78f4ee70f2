from __future__ import annotations

import asyncio
from typing import get_args

import msgspec
import pytest

from daemon.protocol.commands import AnyCommand, Cancel, Jobs, ListJobs, Submit, Submitted
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobStateChanged, Preview
from daemon.protocol.specs import JobSpec
from negtui.app import READS, NegtuiApp, load_screen
from negtui.keys import SCREENS
from negtui.messages import PreviewArrived, ViewChanged
from negtui.screens.base import NegtuiScreen
from negtui.screens.jobs import JobsScreen
from negtui.view import ALL
from negtui.widgets.status_bar import StatusBar
from tests.curation_daemon import client, in_loop, press, told
from tests.fake_daemon import JOBS
from tests.snapshots.screens import text_of


@pytest.mark.parametrize("name", SCREENS)
def test_each_screen_is_there_under_its_name(name: str) -> None:
    screen = load_screen(name)
    assert isinstance(screen, NegtuiScreen)
    assert name == screen.SCOPE
    assert screen.number == SCREENS.index(name) + 1
    assert screen.TITLE


@in_loop
async def test_numbers_go_to_screens_that_keep_their_place() -> None:
    fake = client()
    fake.daemon.add(JOBS["train"])
    fake.daemon.add(JOBS["compare"])
    app = NegtuiApp(fake.connect)
    async with app.run_test(size=(80, 24)) as pilot:
        for number, name in enumerate(SCREENS, start=1):
            await press(pilot, str(number))
            assert app.screen_in_front is not None
            assert name == app.screen_in_front.SCOPE
        await press(pilot, "5", "j", "6", "5")
        assert isinstance(app.screen, JobsScreen)
        assert app.screen.table.chosen is not None
        assert app.screen.table.chosen.id == "job2"
        await press(pilot, "escape", "escape")
        assert app.is_running


@in_loop
async def test_an_answer_is_seen_at_once_and_a_refusal_is_a_toast_in_words() -> None:
    fake = client()
    row = fake.daemon.add(JOBS["train"])
    app = NegtuiApp(fake.connect, start="gpu")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.pause(0.2)
        assert isinstance(await app.ask(ListJobs()), Jobs)
        await app.ask(Cancel(job_id=row.id))
        assert app.view.jobs[row.id].state == "cancelled"
        fake.daemon.refusal = NegError("wrong_state", "That [b]cannot\x1b[2J[/b] be.", "Do something else.")
        assert await app.ask(ListJobs()) is None
        await pilot.pause(0.2)
        assert "That [b]cannot[/b] be. Do something else." in " ".join(text_of(app).replace("▌", "").split())


@in_loop
async def test_news_that_overtook_an_answer_is_not_undone_by_it() -> None:
    fake = client()
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        submit = fake.daemon.submit

        async def slow(spec: JobSpec, after: tuple[str, ...] = ()) -> Submitted:
            answer = await submit(spec, after)
            fake.tell(JobStateChanged(job=msgspec.structs.replace(answer.job, state="running")))
            await asyncio.sleep(0.2)
            return answer

        fake.daemon.submit = slow  # type: ignore[method-assign]
        answer = await app.ask(Submit(key="k" * 8, spec=JOBS["train"]))
        assert isinstance(answer, Submitted)
        assert answer.job.state == "queued"
        await pilot.pause(0.2)
        assert app.view.jobs[answer.job.id].state == "running"
        assert ">> running" in text_of(app)


@in_loop
async def test_where_a_job_stands_by_an_answer_is_shown_and_not_told_twice_in_its_log() -> None:
    fake = client()
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        answer = await app.ask(Submit(key="k" * 8, spec=JOBS["train"]))
        assert isinstance(answer, Submitted)
        assert app.view.jobs[answer.job.id].state == "queued"
        assert "queued" not in [line.text for line in app.view.lines.get(answer.job.id, [])]


@in_loop
async def test_before_there_is_a_daemon_asking_says_so() -> None:
    fake = client()
    fake.is_reachable = False
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        await pilot.pause(0.2)
        assert await app.ask(ListJobs()) is None
        with pytest.raises(NegError):
            await app.fetch("toy", "x.png")
        await pilot.pause(0.2)
        assert "There is no connection to a daemon." in " ".join(text_of(app).split())
        assert "NO CONNECTION" in text_of(app)


@in_loop
async def test_a_daemon_is_started_by_key_where_that_can_be() -> None:
    fake, revived = client(), []
    fake.is_reachable = False

    async def revive() -> None:
        revived.append(True)
        fake.is_reachable = True

    app = NegtuiApp(fake.connect, start="jobs", revive=revive)
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause(0.2)
        assert "f5 starts the daemon" in text_of(app)
        await press(pilot, "f5")
        await pilot.pause(0.3)
        assert revived == [True]
        assert app.view.connection.state == "connected"


@in_loop
async def test_ends_are_toasts_on_whatever_screen() -> None:
    fake = client()
    row = fake.daemon.add(JOBS["train"], "running")
    app = NegtuiApp(fake.connect, start="gpu")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.pause(0.2)
        fake.tell(JobStateChanged(job=fake.daemon.change(row.id, "failed", reason="it broke").job))
        await pilot.pause(0.4)
        assert "train toy: failed: it broke" in text_of(app)


@in_loop
async def test_news_that_comes_while_it_leaves_finds_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = client()
    app = NegtuiApp(fake.connect, start="jobs")
    heard = []

    def news(_: StatusBar) -> None:
        app.on_view_changed(ViewChanged(ALL))
        app.on_preview_arrived(PreviewArrived(Preview(job_id="a", image_id="i", step=1, num_steps=2)))
        heard.append(app.screen_in_front)

    monkeypatch.setattr(StatusBar, "on_unmount", news, raising=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "1", "q")
    assert heard
    assert set(heard) == {None}


@in_loop
async def test_the_same_keys_leave_at_once_also_while_typing() -> None:
    for keys in (["q"], ["ctrl+q"], ["ctrl+c"], ["slash", "ctrl+c"]):
        fake = client()
        app = NegtuiApp(fake.connect, start="jobs")
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause(0.2)
            await pilot.press(*keys)
            await pilot.pause(0.2)
            assert not app.is_running or app._exit
        assert not [command for command in fake.daemon.asked if type(command).__name__ not in READS]


CHANGES = {
    *("Submit", "Cancel", "Pause", "Resume", "Prioritise", "Steer", "Drain", "LoadModel", "UnloadModel", "MarkImages", "RestoreMarks"),
    *("CreateSession", "ChangeSession", "WriteSession", "DuplicateSession", "DeleteSession", "ImportSession"),
    *("OpenRound", "CastVote", "UndoVote", "CloseRound"),
}


def test_every_command_changes_something_or_passes_read_only() -> None:
    assert {command.__name__ for command in get_args(AnyCommand)} == READS | CHANGES
    assert not READS & CHANGES


@pytest.mark.parametrize("ascii", [True, False])
@in_loop
async def test_only_ascii_where_that_is_asked_for(ascii: bool) -> None:
    app = NegtuiApp(client().connect, start="jobs", ascii=ascii)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        assert text_of(app).isascii() is ascii


@pytest.mark.parametrize("theme", ["textual-light", "textual-dark", "ansi-dark", "no-such-theme"])
@in_loop
async def test_themes_of_the_configuration(theme: str) -> None:
    app = NegtuiApp(client().connect, start="jobs", theme=theme)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.1)
        assert "[5 Jobs]" in text_of(app)
        assert (app.theme == theme) is (theme != "no-such-theme")
        assert ("theme: 'no-such-theme' is none; f2" in told(app)) is (theme == "no-such-theme")


@in_loop
async def test_pictures_change_and_previews_without_a_taker_are_dropped() -> None:
    fake = client()
    app = NegtuiApp(fake.connect, start="gpu")
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause(0.2)
        fake.tell(Preview(job_id="a", image_id="i", step=1, num_steps=2))
        await press(pilot, "i", "ctrl+l")
        assert "pictures off" in text_of(app)
