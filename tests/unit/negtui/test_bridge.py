from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from textual.message import Message

from daemon.protocol.events import JobRow, JobStateChanged, Logged, MetricsRecorded, Preview, SessionChanged, StepProgress
from negtui.bridge import FLUSH_SECONDS, Bridge, job_of
from negtui.messages import Noticed, PreviewArrived, ViewChanged
from negtui.view import View
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS, FakeDaemon, good


def follow(fake: FakeClient, scene: Callable[[Bridge, list[Message]], Awaitable[None]]) -> list[Message]:
    """Run a bridge on `fake` while `scene` plays; what it posted."""
    posted: list[Message] = []

    async def whole() -> None:
        bridge = Bridge(View(), fake.connect, posted.append)
        running = asyncio.create_task(bridge.run())
        try:
            async with asyncio.timeout(20):
                await until(lambda: bridge.view.connection.state != "connecting")
                await scene(bridge, posted)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(whole())
    return posted


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


def training(state: str = "running") -> JobRow:
    return JobRow(id="a", key="k" * 8, spec=JOBS["train"], state=state, created=1.0)  # type: ignore[arg-type]


def test_however_fast_events_come_changes_are_told_seldom_and_together() -> None:
    fake = FakeClient()
    fake.daemon.jobs.append(training())

    async def scene(bridge: Bridge, posted: list[Message]) -> None:
        await until(lambda: bool(posted))
        posted.clear()
        begun = asyncio.get_running_loop().time()
        for number in range(2000):
            fake.tell(
                StepProgress(job_id="a", phase="train", step=number, num_steps=2000),
                Preview(job_id="a", image_id="i", step=number, num_steps=9),
            )
        await until(lambda: "a" in bridge.view.progress and bridge.view.progress["a"].step == 1999)
        await asyncio.sleep(2 * FLUSH_SECONDS)
        most = 2 + (asyncio.get_running_loop().time() - begun) / FLUSH_SECONDS
        assert 1 <= sum(isinstance(message, ViewChanged) for message in posted) <= most
        previews = [message.preview.step for message in posted if isinstance(message, PreviewArrived)]
        assert 1 <= len(previews) <= most
        assert previews[-1] == 1999

    follow(fake, scene)


def test_the_history_of_a_known_job_is_read_whole_and_what_came_meanwhile_is_not_lost() -> None:
    fake = FakeClient()
    fake.daemon.jobs.append(training())
    fake.daemon.log = [
        JobStateChanged(job=training()),
        *(MetricsRecorded(job_id="a", steps=(step,), values={"loss": (float(step),)}) for step in range(1, 6)),
    ]

    async def scene(bridge: Bridge, posted: list[Message]) -> None:
        fake.tell(MetricsRecorded(job_id="a", steps=(6,), values={"loss": (6.0,)}))
        await until(lambda: bridge.view.curves.get("a") is not None and bridge.view.curves["a"]["loss"].steps == [1, 2, 3, 4, 5, 6])
        assert bridge.view.jobs["a"].state == "running"
        fake.tell(MetricsRecorded(job_id="a", steps=(7,), values={"loss": (7.0,)}))
        await until(lambda: bridge.view.curves["a"]["loss"].steps[-1] == 7)

    follow(fake, scene)


def test_loss_of_contact_is_told_at_once_and_its_end_too() -> None:
    fake = FakeClient()

    async def scene(bridge: Bridge, posted: list[Message]) -> None:
        assert bridge.view.connection.state == "connected"
        assert bridge.view.connection.version == "0"
        fake.lose("It is gone.")
        assert bridge.view.connection.state == "lost"
        assert bridge.view.connection.reason == "It is gone."
        since = bridge.view.connection.since
        fake.lose("No daemon listens there.")
        assert bridge.view.connection.since == since
        bridge.hurry()
        assert fake.num_hurries == 1
        fake.find_again()
        assert bridge.view.connection.state == "connected"

    follow(fake, scene)


def test_a_daemon_that_is_silent_is_lost_until_it_speaks_again() -> None:
    fake = FakeClient()

    async def scene(bridge: Bridge, posted: list[Message]) -> None:
        fake.silent_seconds = 3.0
        await until(lambda: bridge.view.connection.state == "lost")
        fake.silent_seconds = 0.1
        await until(lambda: bridge.view.connection.state == "connected")

    follow(fake, scene)


def test_where_no_daemon_is_it_says_so_and_tries_again_without_starting_one() -> None:
    fake = FakeClient()
    fake.is_reachable = False

    async def scene(bridge: Bridge, posted: list[Message]) -> None:
        assert bridge.view.connection.state == "lost"
        assert "No daemon runs there" in bridge.view.connection.reason
        fake.is_reachable = True
        bridge.hurry()
        await until(lambda: bridge.view.connection.state == "connected")
        assert fake.started == [True, False]

    follow(fake, scene)


def test_what_ends_is_noticed_and_sessions_are_listed_again() -> None:
    fake = FakeClient(FakeDaemon(good))

    async def scene(bridge: Bridge, posted: list[Message]) -> None:
        await until(lambda: "toy" in bridge.view.sessions)
        fake.sessions = ()
        assert bridge.client is not None
        await fake.daemon.submit(JOBS["train"])
        fake.tell(JobStateChanged(job=fake.daemon.jobs[0]))
        fake.tell_pending()
        fake.tell(SessionChanged(session="toy", change="deleted"))
        await until(lambda: not bridge.view.sessions)

    posted = follow(fake, scene)
    assert [message.text for message in posted if isinstance(message, Noticed)] == ["train toy: done in 1 min 00 s"]


def test_the_job_of_an_event() -> None:
    assert job_of(JobStateChanged(job=training())) == "a"
    assert job_of(Logged(job_id="b", level="info", message="")) == "b"
    assert job_of(SessionChanged(session="toy", change="edited")) == ""
