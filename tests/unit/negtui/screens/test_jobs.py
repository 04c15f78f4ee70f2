from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from daemon.protocol.commands import AnyCommand, Cancel, Pause, Prioritise, Resume
from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import JobStateChanged, Logged, StepProgress
from negtui.app import NegtuiApp
from negtui.screens.jobs import JobsScreen, job_words
from negtui.view import View
from tests.curation_daemon import client, in_loop, press, told
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS
from tests.snapshots.screens import SIZES, matches, settled, text_of


def queued() -> FakeClient:
    """One job runs, two wait, one is blocked, one failed, one is done."""
    fake = client()
    first = fake.daemon.add(JOBS["synthesize"], "running", started=1.7e9, id="one")
    fake.daemon.add(JOBS["train"], "queued", after=(first.id,), id="two", reason="waits for synthesize job one")
    fake.daemon.add(JOBS["compare"], "queued", id="three")
    no_room = ErrorDetail(code="disk_full", message="Only 1.0 GiB are free.", hint="Make room, then resume it.")
    fake.daemon.add(JOBS["train"], "blocked", error=no_room, id="four")
    fake.daemon.add(
        JOBS["train"],
        "failed",
        id="five",
        started=1.7e9,
        finished=1.7e9 + 30,
        error=ErrorDetail(code="internal", message="It [b]broke[/b]."),
    )
    fake.daemon.add(JOBS["synthesize"], "done", id="six", started=1.7e9, finished=1.7e9 + 90, timings={"paint": 80.0})
    fake.daemon.log = [Logged(job_id="one", level="warning", message="\x1b[31mslow\x1b[0m [i]disk[/i]")]
    return fake


def changes(fake: FakeClient) -> list[AnyCommand]:
    return [command for command in fake.daemon.asked if isinstance(command, (Cancel, Pause, Resume, Prioritise))]


@pytest.fixture
def a_day_in_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A minute after the jobs began, told in UTC."""
    with monkeypatch.context() as patch:
        patch.setattr("negtui.widgets.job_table.time.time", lambda: 1.7e9 + 60)
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("a_day_in_greenwich")
@pytest.mark.parametrize("size", SIZES)
@in_loop
async def test_it_looks_as_it_did(size: tuple[int, int]) -> None:
    fake = queued()
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.4)
        fake.tell(StepProgress(job_id="one", phase="synthesise", step=5, num_steps=25, image_index=2, num_images=36, eta_seconds=70.0))
        await pilot.pause(0.4)
        text = text_of(app)
        assert "[i]disk[/i]" in text
        assert "\x1b" not in text
        assert matches(f"jobs-{size[0]}x{size[1]}", await settled(pilot))


@in_loop
async def test_keys_act_on_the_job_under_the_cursor() -> None:
    fake = queued()
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "j", "j", "K")
        await press(pilot, "plus")
        await press(pilot, "J")
        await press(pilot, "g", "p")
        await press(pilot, "G", "r")
        assert changes(fake) == [
            Prioritise(job_id="three", priority=1),
            Prioritise(job_id="three", priority=2),
            Prioritise(job_id="three", priority=-1),
            Pause(job_id="one"),
            Resume(job_id="five"),
        ]


@in_loop
async def test_arrows_move_the_cursor_also_where_there_are_more_jobs_than_fit() -> None:
    fake = client()
    for number in range(40):
        fake.daemon.add(JOBS["compare"], "queued", id=f"job{number:02}")
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "down", "down", "up", "y")
        assert app.clipboard == "job01"
        await press(pilot, "end", "y")
        assert app.clipboard == "job39"


@in_loop
async def test_a_key_acts_on_the_job_that_was_under_the_cursor_when_it_was_pressed() -> None:
    fake = queued()
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "g")
        assert isinstance(app.screen, JobsScreen)
        app.screen.action_pause()
        app.screen.action_down()
        await pilot.pause(0.1)
        assert changes(fake) == [Pause(job_id="one")]


@in_loop
async def test_without_a_job_its_keys_say_so() -> None:
    fake = client()
    async with NegtuiApp(fake.connect, start="jobs").run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        for key in ("p", "r", "X", "plus", "y"):
            pilot.app.clear_notifications()
            await press(pilot, key)
            assert "There is no job here" in told(pilot.app), key
        assert changes(fake) == []


@in_loop
async def test_the_headings_tell_which_jobs_and_which_lines_are_shown() -> None:
    fake = queued()
    async with NegtuiApp(fake.connect, start="jobs").run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "o")
        assert "how far, or why (only open)" in text_of(pilot.app)
        await press(pilot, "o", "slash", *"train", "enter")
        assert "how far, or why (with 'train')" in text_of(pilot.app)
        await press(pilot, "escape")
        assert "how far, or why\n" in text_of(pilot.app)
        await press(pilot, "f", "k")
        assert "Log: all lines, not following: G follows" in text_of(pilot.app)
        await press(pilot, "w", "G")
        assert "Log: warnings and errors, following" in text_of(pilot.app)


@in_loop
async def test_the_id_is_copied_the_priority_lowered_and_the_list_paged() -> None:
    fake = queued()
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "g", "j", "y")
        assert app.clipboard == "two"
        await press(pilot, "minus")
        assert changes(fake) == [Prioritise(job_id="two", priority=-1)]
        await press(pilot, "G", "k", "y")
        before = app.clipboard
        await press(pilot, "j", "y")
        assert app.clipboard != before
        last = app.clipboard
        await press(pilot, "pageup", "y")
        assert app.clipboard == "one"
        await press(pilot, "pagedown", "y")
        assert app.clipboard == last


@in_loop
async def test_cancelling_asks_first_and_names_the_job() -> None:
    fake = queued()
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "X")
        assert "Cancel synthesise toy?" in text_of(app)
        await press(pilot, "n")
        assert changes(fake) == []
        await press(pilot, "X", "y")
        assert changes(fake) == [Cancel(job_id="one")]
        assert app.view.jobs["one"].state == "cancelled"


@in_loop
async def test_marked_jobs_are_all_acted_on() -> None:
    fake = queued()
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "j", "space", "space", "p")
        assert changes(fake) == [Pause(job_id="two"), Pause(job_id="three")]
        await press(pilot, "escape")
        assert isinstance(app.screen, JobsScreen)
        assert app.screen.table.marked == set()


@in_loop
async def test_read_only_refuses_in_words() -> None:
    fake = queued()
    app = NegtuiApp(fake.connect, start="jobs", read_only=True)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "p")
        await pilot.pause(0.2)
        assert changes(fake) == []
        assert "--read-only" in text_of(app)


@in_loop
async def test_filters_narrow_the_list_and_esc_widens_it() -> None:
    fake = queued()
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        assert isinstance(app.screen, JobsScreen)
        await press(pilot, "slash", *"blocked", "enter")
        assert [row.id for row in app.screen.table.rows] == ["four"]
        assert "Make room, then resume it." in " ".join(text_of(app).split())
        await press(pilot, "escape")
        assert len(app.screen.table.rows) == 6
        await press(pilot, "o")
        assert {row.id for row in app.screen.table.rows} == {"one", "two", "three", "four"}


@in_loop
async def test_the_log_fills_the_screen_and_back() -> None:
    fake = queued()
    app = NegtuiApp(fake.connect, start="jobs")
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause(0.4)
        await press(pilot, "f")
        assert "WARNING slow [i]disk[/i]" in text_of(app)
        assert not app.screen.query_one("#queue").display
        await press(pilot, "slash", *"nothing", "enter")
        assert "no line is like that" in text_of(app)
        await press(pilot, "escape")
        assert app.screen.query_one("#queue").display
        fake.tell(Logged(job_id="one", level="info", message="later"))
        await pilot.pause(0.3)
        assert app.view.lines["one"][-1].text == "later"


def test_words_of_a_job_tell_what_it_waits_for() -> None:
    fake = queued()
    view = View(jobs={row.id: row for row in fake.daemon.jobs})
    assert "waits for synthesise toy, which is running" in job_words(view.jobs["two"], view)
    assert any("paint 80.0 s" in line for line in job_words(view.jobs["six"], view))
    assert JobStateChanged(job=view.jobs["one"]).job.id == "one"
