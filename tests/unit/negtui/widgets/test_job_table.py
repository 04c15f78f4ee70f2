from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import JobRow, State, StepProgress
from negtui.widgets.job_table import JobTable, in_order, job_cells, priority_before, priority_behind
from tests.curation_daemon import in_loop
from tests.fake_daemon import JOBS
from tests.snapshots.screens import text_of


def job(id: str, state: State = "queued", created: float = 1.0, **fields: object) -> JobRow:
    row = JobRow(id=id, key="k" * 8, spec=JOBS["train"], state=state, created=created)
    return msgspec.structs.replace(row, **fields)


PRIORITY = st.integers(min_value=-99, max_value=99)


def queue(*rows: JobRow) -> list[str]:
    """Ids in the order in which the daemon runs them: the highest priority, then the oldest."""
    return [row.id for row in sorted(rows, key=lambda row: (-row.priority, row.created))]


@given(PRIORITY, PRIORITY, st.booleans())
def test_a_new_priority_puts_a_job_before_or_behind_another(mine: int, theirs: int, is_older: bool) -> None:
    me, other = job("me", created=1.0 if is_older else 3.0, priority=mine), job("other", created=2.0, priority=theirs)
    before = msgspec.structs.replace(me, priority=priority_before(me, other))
    behind = msgspec.structs.replace(me, priority=priority_behind(me, other))
    assert queue(before, other) == ["me", "other"]
    assert queue(behind, other) == ["other", "me"]


def test_what_runs_next_comes_first_and_the_newest_end_before_older_ones() -> None:
    rows = [
        job("old", "done", finished=5.0),
        job("late", created=3.0),
        job("early", created=2.0),
        job("urgent", created=4.0, priority=5),
        job("new", "failed", finished=9.0),
        job("now", "running"),
        job("stuck", "blocked"),
    ]
    assert [row.id for row in in_order(rows)] == ["now", "urgent", "early", "late", "stuck", "new", "old"]


def test_cells_say_why_a_job_does_not_run() -> None:
    blocked = job("a", "blocked", error=ErrorDetail(code="disk_full", message="No room \x1b[2Jleft.", hint="Make some."))
    assert job_cells(blocked, None, 0.0)[4] == "No room left. Make some."
    assert job_cells(job("a", after=("b",)), None, 0.0, {"b": "synthesise toy"})[4] == "waits for synthesise toy"
    running = job("a", "running", started=10.0)
    cells = job_cells(running, StepProgress(job_id="a", phase="train", step=1, num_steps=4), 70.0)
    assert (cells[0], cells[3], cells[4]) == (">> running", "1 min 00 s", "train: step 1 of 4")


class Page(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.moved: list[str] = []

    def compose(self) -> ComposeResult:
        yield JobTable()

    def on_job_table_moved(self, message: JobTable.Moved) -> None:
        self.moved.append(message.job_id)


@in_loop
async def test_the_cursor_stays_on_its_job_and_marks_are_acted_on() -> None:
    app = Page()
    async with app.run_test(size=(100, 12)) as pilot:
        table = app.query_one(JobTable)
        rows = [job(f"j{number}", created=float(number)) for number in range(5)]
        table.show(rows, {}, 0.0)
        table.move(2)
        await pilot.pause()
        assert app.moved == ["j0", "j2"]
        table.show(rows[::-1][:4], {}, 0.0)
        assert table.chosen is not None
        assert table.chosen.id == "j2"
        table.mark()
        table.move(-9)
        table.mark()
        assert [row.id for row in table.acted_on] == ["j4", "j2"]
        assert text_of(app).count("* ..") == 2 or text_of(app).count("*") == 2


@in_loop
async def test_a_thousand_jobs_scroll_and_are_drawn_only_where_seen() -> None:
    app = Page()
    async with app.run_test(size=(100, 12)) as pilot:
        table, drawn = app.query_one(JobTable), []
        table.show([job(f"j{number}", created=float(number)) for number in range(1000)], {}, 0.0)
        await pilot.pause()
        original = table.render_line
        table.render_line = lambda y: drawn.append(y) or original(y)  # type: ignore[method-assign, func-returns-value]
        table.move(999)
        await pilot.pause()
        assert table.chosen is not None
        assert table.chosen.id == "j999"
        assert "> .." in text_of(app)
        assert max(drawn) < 12


@pytest.mark.parametrize(("width", "is_narrow"), [(60, True), (100, False)])
@in_loop
async def test_a_narrow_table_keeps_room_for_why(width: int, is_narrow: bool) -> None:
    app = Page()
    async with app.run_test(size=(width, 12)) as pilot:
        app.query_one(JobTable).show([job("a", "blocked", reason="the disk is full, so far")], {}, 2.0)
        await pilot.pause()
        assert "the disk is full, so far" in text_of(app)
        assert ("took" in text_of(app)) is not is_narrow


@in_loop
async def test_progress_changes_only_the_row_of_its_job() -> None:
    app = Page()
    async with app.run_test(size=(100, 12)) as pilot:
        table, refreshed = app.query_one(JobTable), []
        table.show([job("a", "running", started=1.0), job("b")], {}, 2.0)
        await pilot.pause()
        original = table.refresh
        table.refresh = lambda *regions, **named: refreshed.append(regions) or original(*regions, **named)  # type: ignore[func-returns-value, method-assign]
        table.show_progress({"a": StepProgress(job_id="a", phase="train", step=7, num_steps=9)}, 3.0)
        assert [region.y for (region,) in refreshed] == [1]
        await pilot.pause()
        assert "train: step 7 of 9" in text_of(app)


@in_loop
async def test_an_empty_table_has_no_job_to_act_on() -> None:
    app = Page()
    async with app.run_test(size=(100, 12)):
        table = app.query_one(JobTable)
        table.show([], {}, 0.0)
        table.mark()
        table.move(1)
        assert (table.chosen, table.acted_on) == (None, [])
