"""A terminal that is dragged about while a job tells what it does: every screen ends whole, at the size it has last."""

from __future__ import annotations

import asyncio
import random
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from textual import events
from textual.geometry import Size

from daemon.protocol.commands import SessionRow
from daemon.protocol.events import Gauges, ImageSaved, JobRow
from daemon.protocol.voting import RoundSpec
from negtui.app import NegtuiApp
from negtui.keys import SCREENS
from negtui.pixels.base import Choice
from negtui.screens.base import MIN_HEIGHT, MIN_WIDTH
from negtui.voting import Voting
from tests.curation_daemon import CurationDaemon, client, record
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS
from tests.fake_terminal import FakeTerminal, WindowDriver, in_loop
from tests.long_training import points, progress
from tests.snapshots.screens import settled, text_of
from tests.voting_daemon import VotingDaemon
from tests.voting_daemon import client as voting_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.pilot import Pilot

SESSIONS = (SessionRow(name="toy", num_images=6, adapters=("wrong",), comparisons=("default",)),)
LARGEST = (200, 60)
LAST = (97, 33)
NUM_RESIZES = 100
TELLING = range(0, NUM_RESIZES, 10)
"""Behind which of them something is told, and may be drawn."""
CLOCK = re.compile(r"\d\d:\d\d:\d\d")
TOO_SMALL = ((MIN_WIDTH - 1, MIN_HEIGHT - 1), (MIN_WIDTH - 1, MIN_HEIGHT), (MIN_WIDTH, MIN_HEIGHT - 1), (30, 8), (1, 1))


class Dragged:
    """A screen on a terminal whose size changes, and a training that goes on beside a synthesis."""

    def __init__(self, app: NegtuiApp, fake: FakeClient, row: JobRow) -> None:
        self.app, self.fake, self.row = app, fake, row

    def resize(self, columns: int, rows: int) -> None:
        """As the terminal tells it: without waiting for what comes of it."""
        size = Size(columns, rows)
        assert self.app._driver is not None
        self.app._driver._size = size
        self.app.post_message(events.Resize(size, size))

    def tell(self, step: int) -> None:
        self.fake.tell(
            points(self.row, 10 * step + 1, 10),
            progress(self.row, 10 * step + 10),
            ImageSaved(job_id=self.row.id, session="toy", image=record(step % 6), index=step, num_images=NUM_RESIZES),
            Gauges(device="gpu", memory_used=step, memory_total=NUM_RESIZES, utilisation=float(step)),
        )


@asynccontextmanager
async def opened(name: str, folder: Path, size: tuple[int, int]) -> AsyncIterator[tuple[Dragged, Pilot[None], FakeTerminal]]:
    """A screen on a terminal of `LARGEST` of which so much is used."""
    fake = voting_client(VotingDaemon(folder / "x".join(map(str, size)))) if name == "vote" else client(CurationDaemon(), SESSIONS)
    row = fake.daemon.add(JOBS["train"], "running", id="run000001")
    fake.daemon.add(JOBS["synthesize"])
    terminal = FakeTerminal(*LARGEST)
    app = NegtuiApp(
        fake.connect,
        start=name,
        choice=Choice(backend="half", available=("half", "off")),
        driver_class=WindowDriver.of(terminal),
        voting=Voting("toy", "default", "me", RoundSpec(num_trials=5, repeat_share=0)) if name == "vote" else None,
    )
    app.current_session = "toy"
    async with app.run_test(headless=False, size=size) as pilot:
        dragged = Dragged(app, fake, row)
        dragged.resize(*size)
        await pilot.pause(0.3)
        yield dragged, pilot, terminal


def shown(terminal: FakeTerminal, size: tuple[int, int]) -> str:
    """What stands on that part of the terminal."""
    return "\n".join(line[: size[0]].rstrip() for line in terminal.text.split("\n")[: size[1]]) + "\n"


@pytest.mark.parametrize("name", [*SCREENS, "vote"])
@in_loop
async def test_after_a_storm_of_resizes_the_last_size_is_drawn_whole(name: str, tmp_path: Path) -> None:
    chance = random.Random(name)
    async with opened(name, tmp_path, LAST) as (dragged, pilot, _):
        for step in TELLING:
            dragged.tell(step)
        await pilot.pause(1.0)  # what was told is flushed to the screen a few times a second
        wanted = CLOCK.sub("", await settled(pilot))
    async with opened(name, tmp_path, (80, 24)) as (dragged, pilot, terminal):
        for step in range(NUM_RESIZES):
            dragged.resize(chance.randint(MIN_WIDTH, LARGEST[0]), chance.randint(MIN_HEIGHT, LARGEST[1]))
            if step in TELLING:
                dragged.tell(step)
                await asyncio.sleep(0.01)
        dragged.resize(*LAST)
        for _ in range(100):
            if (found := CLOCK.sub("", await settled(pilot))) == wanted:
                break
            await pilot.pause(0.1)
        assert found == wanted
        assert shown(terminal, LAST) == text_of(dragged.app)


@pytest.mark.parametrize("name", [*SCREENS, "vote"])
@in_loop
async def test_a_terminal_that_is_too_small_is_told_the_size_it_needs(name: str, tmp_path: Path) -> None:
    async with opened(name, tmp_path, (MIN_WIDTH, MIN_HEIGHT)) as (dragged, pilot, _):
        whole = await settled(pilot)
        assert "connected" in whole
        assert "negtui needs" not in whole
        for size in TOO_SMALL:
            dragged.resize(*size)
            await pilot.pause(0.1)
            if size[0] >= 30:
                text = " ".join(text_of(dragged.app).split())
                assert f"negtui needs {MIN_WIDTH}x{MIN_HEIGHT}; this terminal has {size[0]}x{size[1]}." in text
                assert "connected" not in text
        dragged.resize(MIN_WIDTH, MIN_HEIGHT)
        assert await settled(pilot) == whole
