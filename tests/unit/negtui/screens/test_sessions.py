from __future__ import annotations

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from daemon.protocol.commands import CreateSession, DeleteSession, DuplicateSession, ReadSession, SessionRow
from daemon.protocol.specs import MergeJob, job_specs
from negtui.app import NegtuiApp
from negtui.screens.sessions import SessionsScreen, declared
from tests.curation_daemon import client, in_loop, press, told
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS, SPEC
from tests.snapshots.screens import SIZES, matches, settled, text_of

ROWS = (
    SessionRow(name="toy", description="the [b]toy[/b] \x1b[31mexperiment", num_images=36, adapters=("wrong",)),
    SessionRow(name="broken", error="line 3: rank must be a whole number"),
    SessionRow(name="second", num_images=2),
)


async def opened(pilot: Pilot[None]) -> SessionsScreen:
    await pilot.pause(0.3)
    screen = pilot.app.screen
    assert isinstance(screen, SessionsScreen)
    return screen


def app(found: FakeClient) -> NegtuiApp:
    return NegtuiApp(found.connect, start="sessions")  # type: ignore[arg-type]


async def fill(pilot: Pilot[None], *texts: str) -> None:
    """Type over the lines of the open form, and submit it."""
    for number, text in enumerate(texts):
        field = list(pilot.app.screen.query(Input))[number]
        field.value = text
        await press(pilot, "enter")
    await pilot.pause(0.1)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 20)])
@in_loop
async def test_it_lists_sessions_clean_and_chooses_one(size: tuple[int, int]) -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=size) as pilot:
        screen = await opened(pilot)
        text = text_of(pilot.app)
        assert "\x1b" not in text
        assert "[31m" not in text
        assert "second" in text
        assert "line 3" in text
        screen.table.go_to("toy")
        await press(pilot, "enter")
        assert pilot.app.current_session == "toy"  # type: ignore[attr-defined]
        assert "> " in text_of(pilot.app)


@in_loop
async def test_a_new_session_is_made_from_a_template() -> None:
    found = client(sessions=())
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        assert "n makes one" in text_of(pilot.app)
        await press(pilot, "n")
        assert screen.form.is_open
        await fill(pilot, "mine", "toy", "", "none", "", "training.rank=8 comparison.seeds=[0, 1]")
        changes = {"model.refiner": "none", "training.rank": "8", "comparison.seeds": "[0, 1]"}
        assert CreateSession(name="mine", template="toy", changes=changes) in found.daemon.asked
        assert not screen.form.is_open
        assert screen.negtui.current_session == "mine"


@in_loop
async def test_deleting_needs_the_name_typed() -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("second")
        await press(pilot, "D")
        await fill(pilot, "secnd")
        assert not any(isinstance(command, DeleteSession) for command in found.daemon.asked)
        assert "second stays" in text_of(pilot.app)
        await fill(pilot, "second")
        assert DeleteSession(name="second", typed="second") in found.daemon.asked
        assert not screen.form.is_open


@in_loop
async def test_a_session_is_copied() -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("toy")
        await press(pilot, "c")
        await press(pilot, "enter", "enter")
        assert DuplicateSession(name="toy", new_name="toy-2", settings_only=True) in found.daemon.asked


@in_loop
async def test_a_filter_is_typed_and_escape_clears_it() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "slash", *"sec")
        assert screen.table.row_count == 1
        await press(pilot, "enter")
        assert screen.table.row_count == 1
        await press(pilot, "escape")
        assert screen.table.row_count == 3


@in_loop
async def test_r_queues_all_three_acts_each_after_the_one_before() -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("toy")
        await press(pilot, "r")
        assert [spec for spec, _ in found.daemon.submitted] == list(JOBS.values())
        assert [after for _, after in found.daemon.submitted] == [(), ("job1",), ("job2",)]
        await pilot.pause(0.3)
        assert "queued" in text_of(pilot.app)


@in_loop
async def test_its_folder_is_copied_and_it_is_run_on_every_prompt() -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("toy")
        await pilot.pause(0.3)
        await press(pilot, "y")
        assert pilot.app.clipboard == "/w/sessions/toy"
        await press(pilot, "R")
        assert [spec for spec, _ in found.daemon.submitted] == list(job_specs("toy", SPEC, full=True).values())
        assert [spec for spec, _ in found.daemon.submitted] != list(JOBS.values())


@in_loop
async def test_v_checks_the_session_at_the_cursor_and_says_so() -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=(120, 30)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("second")
        await pilot.pause(0.3)
        found.daemon.warnings = ("[training] 4 steps are few.",)
        await press(pilot, "v")
        assert found.daemon.asked[-1] == ReadSession(name="second")
        assert "second is in order" in told(pilot.app)
        assert "4 steps are few" in text_of(pilot.app)


@in_loop
async def test_the_detail_says_what_a_session_declares() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("toy")
        await pilot.pause(0.5)
        detail = str(screen.query_one("#session-detail", Static).render())
        assert "2 pictures 1024x1024: 2 keywords, 1 weight, 1 guidance, 1 seed" in detail


def test_declared_names_model_and_acts() -> None:
    lines = declared(SPEC)
    assert [line.split()[0] for line in lines] == ["model", "synthesise", "train", "compare"]


@pytest.mark.parametrize("size", SIZES)
@in_loop
async def test_it_looks_as_it_did(size: tuple[int, int]) -> None:
    async with app(client(sessions=ROWS)).run_test(size=size) as pilot:
        await opened(pilot)
        assert matches(f"sessions-{size[0]}x{size[1]}", await settled(pilot))


@in_loop
async def test_adapters_are_merged_by_a_form_that_says_what_is_wrong() -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("toy")
        await press(pilot, "m")
        assert "It has: wrong" in text_of(pilot.app)
        await fill(pilot, "wrong=1", "both", "cat", "", "")
        assert "This is no merge" in text_of(pilot.app)
        assert found.daemon.submitted == []
        await fill(pilot, "wrong=1 subject=0.7", "both", "cat", "", "")
        ((spec, _),) = found.daemon.submitted
        assert isinstance(spec, MergeJob)
        assert [(parent.name, parent.weight) for parent in spec.merging.adapters] == [("wrong", 1.0), ("subject", 0.7)]
        assert not screen.form.is_open


@in_loop
async def test_another_width_shows_other_columns_and_keeps_the_cursor() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(120, 30)) as pilot:
        screen = await opened(pilot)
        screen.table.go_to("toy")
        for width, adapters in ((80, " 1 "), (120, "wrong")):
            await pilot.resize_terminal(width, 30)
            await pilot.pause(0.2)
            (row,) = (row for row in text_of(pilot.app).splitlines() if "  toy  " in row)
            assert adapters in row
            assert screen.table.session == "toy"
