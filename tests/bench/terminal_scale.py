"""How long the dashboard takes with very much of everything: `python tests/bench/terminal_scale.py [--json]`.

10,000 pictures in a grid, 1,000,000 points of a curve, 1,000 jobs, 200 sessions. Processor time, the best of some tries, printed only.
What is done at each step is counted in tests/unit/negtui/test_scale.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from daemon.protocol.commands import SessionRow
from daemon.protocol.events import MetricsRecorded
from daemon.protocol.specs import ImageRecord, ImageRequest
from negtui.charts import Trace, Window, fitting, plot
from negtui.curation import Decision
from negtui.dataset import Gallery
from negtui.view import View, apply
from negtui.widgets.image_grid import GridItem, ImageGrid
from negtui.widgets.job_table import JobTable, in_order
from negtui.widgets.session_table import SessionTable
from tests.unit.negtui.test_scale import NUM_JOBS, NUM_PICTURES, NUM_POINTS, NUM_SESSIONS, Stage, jobs

REQUEST = ImageRequest(
    base_sha256="b", torch_dtype="float32", prompt="p", seed=0, guidance_scale=5.0, num_inference_steps=4, width=1024, height=1024
)


class Row(NamedTuple):
    what: str
    milliseconds: float


def best(what: str, act: Callable[[], Any], num_tries: int = 5) -> Row:
    """The quickest of some tries."""
    seconds = []
    for _ in range(num_tries):
        begun = time.process_time()
        act()
        seconds.append(time.process_time() - begun)
    return Row(what, 1000 * min(seconds))


def curve_rows() -> list[Row]:
    generator = random.Random(0)
    values = [generator.random() for _ in range(NUM_POINTS)]
    steps = list(range(NUM_POINTS))
    trace = Trace(steps, values)
    first = best(f"{NUM_POINTS:,} points: taken up once, when a run is opened", trace.update, 1)
    window, scale = Window(0, NUM_POINTS - 1), fitting(0.0, 1.0)
    view = View()
    apply(view, MetricsRecorded(job_id="j", steps=tuple(steps), values={"loss": tuple(values)}), 0.0)
    fresh = iter(range(NUM_POINTS, NUM_POINTS + 1000, 10))

    def batch() -> None:
        start = next(fresh)
        apply(view, MetricsRecorded(job_id="j", steps=tuple(range(start, start + 10)), values={"loss": (0.5,) * 10}), 0.0)

    return [
        first,
        best(f"{NUM_POINTS:,} points: a chart of 98 x 20 cells drawn", lambda: plot([trace], window, scale, 98, 20)),
        best(f"{NUM_POINTS:,} points: ten more come", batch),
    ]


def gallery_rows() -> list[Row]:
    records = {
        f"{number:032x}": ImageRecord(id=f"{number:032x}", path=f"dataset/{number:032x}.png", sha256="0", request=REQUEST, keyword="blurry")
        for number in range(NUM_PICTURES)
    }
    gallery = Gallery(session="s", records=records)
    ids = iter(records)

    def mark() -> None:
        gallery.decide(Decision((next(ids),), status="keep"))
        gallery.arrange()
        gallery.heading()

    return [best(f"{NUM_PICTURES:,} pictures: one is marked", mark)]


async def table_rows() -> list[Row]:
    rows = []
    known = jobs()
    table = JobTable()
    async with Stage(table).run_test(size=(120, 40)):
        table.show(in_order(list(known.values())), {}, 0.0)
        turn = iter(range(100))

        def move() -> None:
            row = table.rows[0]
            known[row.id] = msgspec.structs.replace(row, reason=f"turn {next(turn)}")
            table.show(in_order(list(known.values())), {}, 0.0)

        rows.append(best(f"{NUM_JOBS:,} jobs: one of them moves", move))
    sessions = SessionTable()
    async with Stage(sessions).run_test(size=(120, 40)):
        found = [SessionRow(name=f"s{number:03}", num_images=number) for number in range(NUM_SESSIONS)]
        rows.append(best(f"{NUM_SESSIONS} sessions, {NUM_JOBS:,} jobs: shown first", lambda: sessions.show(found, known, {}, None), 1))
        rows.append(best(f"{NUM_SESSIONS} sessions, {NUM_JOBS:,} jobs: brought up to date", lambda: sessions.show(found, known, {}, None)))
    grid = ImageGrid()
    async with Stage(grid).run_test(size=(120, 40)) as pilot:
        items = [GridItem(number, None, f"picture {number}") for number in range(NUM_PICTURES)]
        grid.items = items
        await pilot.pause()
        rows.append(best(f"{NUM_PICTURES:,} pictures: given to the grid anew", lambda: setattr(grid, "items", list(items))))
        rows.append(
            best(
                f"{NUM_PICTURES:,} pictures: from the first page to the last",
                lambda: setattr(grid, "cursor", NUM_PICTURES - 1 - grid.cursor),
            )
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [*gallery_rows(), *asyncio.run(table_rows()), *curve_rows()]
    if arguments.json:
        print(json.dumps([row._asdict() for row in rows]))
    else:
        for row in rows:
            print(f"{row.what:<64} {row.milliseconds:>9.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
