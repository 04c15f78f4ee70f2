"""The dashboard on a real daemon: it says within three seconds that the daemon died or hangs, and finds it again by itself."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from daemon.protocol.commands import Submit
from negtui.app import NegtuiApp
from negtui.client import Client
from tests.fake_recipes import job
from tests.snapshots.screens import text_of
from tests.trips.conftest import FrontProcess

MakeFront = Callable[[], FrontProcess]
SAID_SECONDS = 3.0


def dashboard(front: FrontProcess) -> NegtuiApp:
    return NegtuiApp(lambda on_contact, start: Client.connect(front.endpoints, on_contact=on_contact), start="jobs")


async def until(pilot: Pilot[None], is_so: Callable[[], bool], seconds: float = 30.0) -> float:
    """Wait until it is so; how long that took."""
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < seconds, text_of(pilot.app)
        await pilot.pause(0.05)
    return time.monotonic() - begun


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_a_daemon_that_dies_is_said_so_and_found_again(how: str, make_front: MakeFront) -> None:
    front = make_front()
    front.add_session()
    front.start()

    async def scene() -> None:
        app = dashboard(front)
        async with app.run_test(size=(120, 30)) as pilot:
            await until(pilot, lambda: app.view.connection.state == "connected")
            assert front.process is not None
            if how == "killed":
                front.kill()
            else:
                front.process.send_signal(signal.SIGSTOP)
            try:
                await until(pilot, lambda: "NO CONNECTION" in text_of(app), SAID_SECONDS + 1.0)
                assert app.screen.has_class("-stale")
            finally:
                if how == "hanging":
                    front.process.send_signal(signal.SIGCONT)
            if how == "killed":
                front.start()
            await until(pilot, lambda: app.view.connection.state == "connected")
            # The status line looks at the clock too, and may say so a tenth of a second before the screens are told.
            await until(pilot, lambda: "NO CONNECTION" not in text_of(app) and not app.screen.has_class("-stale"))

    asyncio.run(scene())


def test_a_job_given_by_another_client_is_seen_by_both_and_leaving_stops_nothing(make_front: MakeFront) -> None:
    front = make_front()
    front.add_session()
    front.start()

    async def scene() -> None:
        first, second = dashboard(front), dashboard(front)
        async with first.run_test(size=(120, 30)) as one, second.run_test(size=(120, 30)) as two:
            await until(one, lambda: first.view.connection.state == "connected")
            await first.ask(Submit(key="k" * 8, spec=job("fake")))
            await until(one, lambda: len(first.view.jobs) == 1)
            await until(two, lambda: len(second.view.jobs) == 1)
            await until(two, lambda: [row.state for row in second.view.jobs.values()] == ["done"])
            await until(one, lambda: [row.state for row in first.view.jobs.values()] == ["done"])
            await until(two, lambda: "accepted" in text_of(second))
            assert first.view.lines.keys() == second.view.lines.keys()
            await one.press("q")
        async with Client.connect(front.endpoints) as client:
            assert client.welcome is not None

    asyncio.run(scene())


def test_a_dashboard_opened_later_knows_the_whole_story(make_front: MakeFront) -> None:
    front = make_front()
    front.add_session()
    front.start()

    async def scene() -> None:
        async with Client.connect(front.endpoints) as client:
            await client.request(Submit(key="k" * 8, spec=job("fake")))
        early, late = dashboard(front), dashboard(front)
        async with early.run_test(size=(120, 30)) as pilot:
            await until(pilot, lambda: [row.state for row in early.view.jobs.values()] == ["done"])
            job_id = next(iter(early.view.jobs))

            def told_by(app: NegtuiApp) -> list[str]:
                return [line.text for line in app.view.lines.get(job_id, [])]

            # What passed before it was opened is read beside what passes.
            await until(pilot, lambda: told_by(early)[-1:] == ["done"] and told_by(early)[0].startswith("accepted"))
            told = told_by(early)
        async with late.run_test(size=(120, 30)) as pilot:
            await until(pilot, lambda: told_by(late) == told)

    asyncio.run(scene())
