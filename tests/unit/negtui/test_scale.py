"""What the screens do with very much of everything, counted: 10,000 pictures, 1,000,000 points, 1,000 jobs, 200 sessions.

`tests/bench/terminal_scale.py` prints how long it takes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from daemon.protocol.commands import SessionRow
from daemon.protocol.events import JobRow, MetricsRecorded
from negtui.charts import Trace, Window
from negtui.view import View, apply
from negtui.widgets.image_grid import MAX_TILES, GridItem, ImageGrid, Tile
from negtui.widgets.job_table import JobTable, in_order
from negtui.widgets.session_table import SessionTable
from tests.curation_daemon import in_loop
from tests.fake_daemon import JOBS, FakeDaemon

NUM_PICTURES = 10_000
NUM_POINTS = 1_000_000
NUM_JOBS = 1_000
NUM_SESSIONS = 200


def jobs() -> dict[str, JobRow]:
    """A thousand jobs of two hundred sessions: the last forty wait, the others are done."""
    daemon = FakeDaemon()
    spec = JOBS["train"]
    for number in range(NUM_JOBS):
        own = msgspec.structs.replace(spec, session=f"s{number % NUM_SESSIONS:03}")
        daemon.add(own, "queued" if number >= NUM_JOBS - 40 else "done")
    return {row.id: row for row in daemon.jobs}


class Counted(dict[str, JobRow]):
    """Counts the jobs that are looked at."""

    num_looks = 0

    def values(self) -> Any:
        for row in super().values():
            self.num_looks += 1
            yield row


class Stage(App[None]):
    def __init__(self, widget: Any) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget


@in_loop
async def test_a_table_of_sessions_looks_at_each_job_once() -> None:
    table, known = SessionTable(), Counted(jobs())
    rows = [SessionRow(name=f"s{number:03}") for number in range(NUM_SESSIONS)]
    async with Stage(table).run_test(size=(80, 24)):
        table.show(rows, known, {}, None)
        assert table.row_count == NUM_SESSIONS
        assert known.num_looks == NUM_JOBS


@in_loop
async def test_of_a_thousand_jobs_the_one_that_moved_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    table, known = JobTable(), jobs()
    async with Stage(table).run_test(size=(80, 24)) as pilot:
        table.show(in_order(list(known.values())), {}, now=0.0)
        await pilot.pause()
        painted: list[Region] = []
        monkeypatch.setattr(table, "refresh", lambda *regions, **named: painted.extend(regions))
        first = table.rows[0]
        known[first.id] = msgspec.structs.replace(first, reason="no room")
        table.show(in_order(list(known.values())), {}, now=0.0)
        assert [region.height for region in painted] == [1]


@in_loop
async def test_ten_thousand_pictures_are_a_page_of_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = ImageGrid()
    async with Stage(grid).run_test(size=(120, 40)) as pilot:
        grid.items = [GridItem(number, None, f"picture {number}") for number in range(NUM_PICTURES)]
        await pilot.pause()
        assert len(grid.query(Tile)) == grid.page_size <= MAX_TILES
        put: list[Any] = []
        told = Tile.put
        monkeypatch.setattr(Tile, "put", lambda self, item, **named: (put.append(item), told(self, item, **named)))
        await pilot.press("G", "g", "l")
        assert grid.cursor == 1
        assert len(put) <= 4 * grid.page_size


class Watched(Sequence[float]):
    """A list that counts the values that are read."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.num_reads = 0

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[float]:
        self.num_reads += len(self.values)
        return iter(self.values)

    def __getitem__(self, at: Any) -> Any:
        found = self.values[at]
        self.num_reads += len(found) if isinstance(at, slice) else 1
        return found


def test_a_million_points_are_read_once_and_then_a_few_a_column() -> None:
    generator = random.Random(0)
    values = Watched([generator.random() for _ in range(NUM_POINTS)])
    trace = Trace(range(NUM_POINTS), values)
    trace.update()
    assert values.num_reads <= 2 * NUM_POINTS + 64
    values.num_reads = 0
    assert len(list(trace.columns(Window(0, NUM_POINTS - 1), 160))) == 160
    assert values.num_reads <= 160 * 70
    values.num_reads = 0
    trace.update()
    assert values.num_reads == 0


def test_a_batch_of_points_is_appended_not_copied() -> None:
    view = View()
    first = MetricsRecorded(job_id="j", steps=tuple(range(1000)), values={"loss": (0.5,) * 1000})
    apply(view, first, 0.0)
    steps = view.curves["j"]["loss"].steps
    for start in range(1000, 20_000, 1000):
        apply(view, MetricsRecorded(job_id="j", steps=tuple(range(start, start + 1000)), values={"loss": (0.5,) * 1000}), 0.0)
    assert view.curves["j"]["loss"].steps is steps
    assert len(steps) == 20_000
