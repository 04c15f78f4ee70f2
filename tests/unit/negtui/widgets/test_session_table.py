from __future__ import annotations

from textual.app import App, ComposeResult

from daemon.protocol.commands import SessionRow
from daemon.protocol.events import StepProgress
from negtui.widgets.session_table import SessionTable, active_by_session, cells, running
from tests.curation_daemon import in_loop, press
from tests.fake_daemon import JOBS, FakeDaemon

ROWS = [SessionRow(name=f"s{number}", num_images=number) for number in range(4)]


class Small(App[None]):
    def compose(self) -> ComposeResult:
        yield SessionTable()


def test_what_runs_is_said_in_the_order_of_the_acts() -> None:
    daemon = FakeDaemon()
    one = daemon.add(JOBS["synthesize"], "running")
    daemon.add(JOBS["train"], "queued")
    daemon.add(JOBS["compare"], "done")
    jobs = {row.id: row for row in daemon.jobs}
    progress = {one.id: StepProgress(job_id=one.id, phase="synthesise", step=1, num_steps=4)}
    active = active_by_session(jobs)
    assert list(active) == ["toy"]
    assert running(active["toy"], progress) == "synthesise 25 %, train queued"
    assert running((), progress) == ""


def test_cells_are_clean_and_a_fault_stands_before_the_description() -> None:
    row = SessionRow(name="toy", description="fine", error="line 3:\n\x1b[31mbad", adapters=("a", "b"))
    assert cells(row, "", True, False) == (">", "toy", "", "2", "", "", "", "! line 3: bad")
    assert cells(SessionRow(name="toy", num_votes=12), "", False, False)[5] == "12"
    assert cells(row, "", False, True)[3] == "a, b"
    assert cells(SessionRow(name="toy", adapters=("\x1b]52;c;ZXZpbA==",)), "", False, True)[3] == ""


def test_many_names_leave_room_for_what_stands_behind_them() -> None:
    names = ("branches", "checkpoints", "guidance", "inversion")
    assert cells(SessionRow(name="toy", comparisons=names), "", False, True)[4] == "branches, checkpoints +2"
    assert cells(SessionRow(name="toy", comparisons=("a" * 40, "b")), "", False, True)[4] == f"{'a' * 40} +1"
    assert cells(SessionRow(name="toy", comparisons=("a" * 40,)), "", False, True)[4] == "a" * 40


@in_loop
async def test_the_cursor_stays_on_its_session() -> None:
    app = Small()
    async with app.run_test(size=(80, 12)) as pilot:
        table = app.query_one(SessionTable)
        table.show(ROWS, {}, {}, None)
        table.focus()
        await press(pilot, "j", "j")
        assert table.session == "s2"
        table.show([SessionRow(name="a"), *ROWS], {}, {}, "s1")
        await pilot.pause()
        assert table.session == "s2"
        table.show(ROWS[:1], {}, {}, None)
        await pilot.pause()
        assert table.session == "s0"
        table.show([], {}, {}, None)
        assert table.session is None


@in_loop
async def test_only_changed_cells_are_written() -> None:
    app = Small()
    async with app.run_test(size=(80, 12)) as pilot:
        table = app.query_one(SessionTable)
        table.show(ROWS, {}, {}, None)
        await pilot.pause()
        table.show([SessionRow(name="s0", num_images=7), *ROWS[1:]], {}, {}, "s1")
        await pilot.pause()
        assert str(table.get_cell_at((0, 2))) == "7"  # type: ignore[arg-type]
        assert str(table.get_cell_at((1, 0))) == ">"  # type: ignore[arg-type]
