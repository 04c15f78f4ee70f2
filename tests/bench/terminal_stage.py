"""The dashboard on the terminal it is started on, with a daemon of scripts behind it, for `terminal.py`: `terminal_stage.py MODE`.

`idle`: the sessions. `charts`: a training of 10,000 points tells four times a second, its progress twice. `pictures`: photos of
1024 x 1024 full screen. `hour`: what a training tells in an hour, told in seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")

import msgspec
from PIL import ImageChops

from daemon.protocol.commands import SessionRow
from daemon.protocol.events import JobRow, MetricsRecorded
from negtui.app import NegtuiApp
from negtui.pixels.choose import prepare
from negtui.pixels.driver import PictureDriver
from tests.curation_daemon import CurationDaemon, client
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS
from tests.long_training import NUM_POINTS, STEPS_PER_SECOND, points, progress
from tests.sample_pictures import busy, webp

HOUR = 3600


async def tell_charts(fake: FakeClient, row: JobRow) -> None:
    """Four times a second five steps, twice a second the progress."""
    fake.tell(points(row, 1, NUM_POINTS))
    step = NUM_POINTS
    while True:
        for _ in range(2):
            await asyncio.sleep(0.25)
            fake.tell(points(row, step + 1, STEPS_PER_SECOND // 4))
            step += STEPS_PER_SECOND // 4
        fake.tell(progress(row, step))


async def tell_hour(fake: FakeClient, row: JobRow) -> None:
    """An hour at 20 steps a second, in about a minute."""
    for second in range(HOUR):
        fake.tell(points(row, 1 + second * STEPS_PER_SECOND, STEPS_PER_SECOND), progress(row, second * STEPS_PER_SECOND))
        await asyncio.sleep(0.01)
    fake.tell(MetricsRecorded(job_id=row.id, steps=(HOUR * STEPS_PER_SECOND + 1,), values={"the_hour_is_over": (1.0,)}))


def photos(num_images: int) -> FakeClient:
    """Different photos of 1024 x 1024."""
    daemon = CurationDaemon(num_images)
    fake = client(daemon)
    for number, (id, record) in enumerate(daemon.records.items()):
        daemon.records[id] = msgspec.structs.replace(record, request=msgspec.structs.replace(record.request, width=1024, height=1024))
        fake.files["toy", record.path] = webp(ImageChops.offset(busy(), 97 * number, 41 * number), 1024)
    return fake


async def main(mode: str) -> None:
    fake = photos(24) if mode == "pictures" else client(sessions=tuple(SessionRow(name=f"toy{number or ''}") for number in range(20)))
    row = fake.daemon.add(JOBS["train"], "running", id="one")
    choice, _ = prepare()
    start = {"idle": "sessions", "pictures": "dataset"}.get(mode, "train")
    app = NegtuiApp(fake.connect, start=start, choice=choice, driver_class=PictureDriver)
    app.current_session = "toy"
    tell = {"charts": tell_charts, "hour": tell_hour}.get(mode)
    telling = asyncio.create_task(tell(fake, row)) if tell else None
    await app.run_async()
    if telling:
        telling.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
