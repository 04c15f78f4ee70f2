from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from daemon.protocol.commands import Steer
from daemon.protocol.events import JobRow, JobStateChanged, Logged, MetricsRecorded, StepProgress
from daemon.protocol.training_spec import TrainingSpec
from negtui.app import NegtuiApp
from negtui.screens.train import TrainScreen
from negtui.widgets.curve_grid import CurveGrid
from negtui.widgets.sample_strip import Lines, SampleStrip
from negtui.widgets.spec_form import OptionRows
from tests.curation_daemon import in_loop, told
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS, moved
from tests.snapshots.screens import matches, settled, text_of
from tests.training_daemon import TrainingDaemon, curve, samples

SIZE = (140, 45)
CLOCK = re.compile(r"\d\d:\d\d:\d\d")


class Desk:
    """An open train screen, its daemon and its keys."""

    def __init__(self, pilot: Pilot[None], client: FakeClient) -> None:
        self.pilot = pilot
        self.client = client

    @property
    def screen(self) -> TrainScreen:
        assert isinstance(self.pilot.app.screen, TrainScreen)
        return self.pilot.app.screen

    @property
    def daemon(self) -> TrainingDaemon:
        assert isinstance(self.client.daemon, TrainingDaemon)
        return self.client.daemon

    @property
    def text(self) -> str:
        return text_of(self.pilot.app)

    @property
    def run_line(self) -> str:
        return self.screen.query_one("#run", Lines).text

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause(0.15)

    async def tell(self, *events: Any) -> None:
        self.client.tell(*events)
        await self.pilot.pause(0.5)


@asynccontextmanager
async def opened(client: FakeClient | None = None, size: tuple[int, int] = SIZE, **named: Any) -> AsyncIterator[Desk]:
    client = client or FakeClient(TrainingDaemon())
    app = NegtuiApp(client.connect, start="train", **named)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.4)
        yield Desk(pilot, client)


def with_run(state: Any = "running") -> tuple[FakeClient, JobRow]:
    daemon = TrainingDaemon()
    row = daemon.add(JOBS["train"], state, id="run000001")
    return FakeClient(daemon), row


@in_loop
async def test_start_submits_what_the_command_line_would_and_shows_the_run() -> None:
    async with opened() as desk:
        await desk.press("r")
        ((spec, after),) = desk.daemon.submitted
        assert (spec, after) == (JOBS["train"], ())
        assert "run 1 of 1 (job1)  queued" in desk.run_line
        await desk.press("r")
        assert len(desk.daemon.submitted) == 1


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        (["p"], "Pause(job_id='run000001')"),
        (["m"], "Steer(job_id='run000001', order=Sample())"),
        (["c"], "Steer(job_id='run000001', order=Checkpoint())"),
        (["K", "y"], "Steer(job_id='run000001', order=StopAndKeep())"),
        (["X", "y"], "Cancel(job_id='run000001')"),
        (["t", *["backspace"] * 6, *"2e-5", "enter"], "Steer(job_id='run000001', order=LearningRate(value=2e-05))"),
    ],
)
@in_loop
async def test_keys_steer_the_run(keys: list[str], asked: str) -> None:
    client, _ = with_run()
    async with opened(client) as desk:
        for key in keys:
            await desk.press(key)
        assert asked in [repr(command) for command in desk.daemon.asked]


@in_loop
async def test_what_ends_a_run_asks_first_and_no_is_the_default() -> None:
    client, _ = with_run()
    async with opened(client) as desk:
        for key in ("K", "n", "X", "enter"):
            await desk.press(key)
        assert not [command for command in desk.daemon.asked if type(command).__name__ in ("Steer", "Cancel")]


@in_loop
async def test_a_bad_learning_rate_is_refused_at_its_line() -> None:
    client, _ = with_run()
    async with opened(client) as desk:
        await desk.press("t", *["backspace"] * 6, "0", "enter")
        assert "It must be a number above 0" in desk.text
        await desk.press("escape")
        assert "It must be a number above 0" not in desk.text


@in_loop
async def test_a_learning_rate_goes_to_the_run_that_it_was_written_for() -> None:
    client, row = with_run()
    async with opened(client) as desk:
        await desk.press("t")
        assert "for this run (000001) only" in desk.text
        await desk.tell(JobStateChanged(job=msgspec.structs.replace(row, id="run000002", created=1.9e9)))
        assert "(000002)" in desk.run_line
        await desk.press("enter")
        assert [command.job_id for command in desk.daemon.asked if isinstance(command, Steer)] == [row.id]


@in_loop
async def test_a_paused_run_goes_on() -> None:
    client, row = with_run("paused")
    async with opened(client) as desk:
        await desk.press("m")
        assert [one.message for one in desk.pilot.app._notifications] == ["No training that runs is shown here: this one is paused."]
        await desk.press("R")
        assert "Resume(job_id='run000001')" in [repr(command) for command in desk.daemon.asked]
        await desk.tell(moved(row, "running"), StepProgress(job_id=row.id, phase="train", step=2, num_steps=4, steps_per_second=3.5))
        assert "train 2/4  3.50 it/s" in desk.run_line


@in_loop
async def test_curves_samples_and_log_of_the_run_are_shown_as_they_come() -> None:
    client, row = with_run()
    async with opened(client) as desk:
        await desk.tell(
            curve(row, 100, loss=0.7, grad_norm=2.0),
            MetricsRecorded(job_id=row.id, steps=(50,), values={"separation": (0.125,)}),
            Logged(job_id=row.id, level="warning", message="odd [red]images[/]"),
            samples(row, 50),
        )
        grid = desk.screen.query_one(CurveGrid)
        assert "0.125" in grid.chart("separation").text
        assert "⠀" not in grid.chart("loss").text
        assert "odd [red]images[/]" in " ".join(desk.text.split())
        assert "samples [50]" in desk.text
        assert "target 50" in desk.text


@in_loop
async def test_keys_for_other_runs_say_where_there_is_none() -> None:
    client, _ = with_run("done")
    async with opened(client) as desk:
        await desk.press("left_square_bracket", "right_square_bracket", "v")
        said = told(desk.pilot.app)
        assert "There is no older run of this session." in said
        assert "There is no newer run of this session." in said
        assert "no older run to lay under the curves" in said


@in_loop
async def test_older_runs_lie_under_the_curves_and_can_be_looked_at() -> None:
    client, row = with_run("done")
    newer = client.daemon.add(JOBS["train"], "running", id="run000002")
    client.daemon.jobs[-1] = newer = msgspec.structs.replace(newer, created=1.8e9)
    async with opened(client) as desk:
        await desk.tell(curve(row, 10, loss=0.5), curve(newer, 20, loss=0.4))
        assert "run 2 of 2 (000002)" in desk.run_line
        await desk.press("v")
        assert "over 1 older" in desk.run_line
        desk.screen.query_one(CurveGrid).focus()
        await desk.press("home")
        assert "at 1: 0.4 (0.4)  0.5 (0.5)" in desk.screen.query_one(CurveGrid).chart("loss").text
        await desk.press("left_square_bracket")
        assert "run 1 of 2 (000001)  done  step 10/4" in desk.run_line
        await desk.tell(JobStateChanged(job=msgspec.structs.replace(newer, id="run000003", created=1.9e9)))
        assert "run 1 of 3" in desk.run_line
        await desk.press("right_square_bracket")
        assert "run 2 of 3 (000002)" in desk.run_line


@in_loop
async def test_samples_follow_the_cursor_of_the_charts_while_linked() -> None:
    client, row = with_run()
    async with opened(client) as desk:
        await desk.tell(curve(row, 100, loss=0.7), samples(row, 0), samples(row, 50), samples(row, 100))
        desk.screen.query_one(CurveGrid).focus()
        await desk.press("home")
        assert desk.screen.query_one(SampleStrip).step == 0
        await desk.press("end")
        assert desk.screen.query_one(SampleStrip).step == 100
        await desk.press("L", "home")
        assert desk.screen.query_one(SampleStrip).step == 100


@in_loop
async def test_at_80x24_the_panes_are_tabs() -> None:
    client, row = with_run()
    async with opened(client, size=(80, 24)) as desk:
        await desk.tell(curve(row, 100, loss=0.7), samples(row, 0), Logged(job_id=row.id, level="info", message="a line of the log"))
        seen = []
        for _ in range(5):
            text = desk.text
            seen.append((" rank " in text, "held_out_loss" in text, "baseline 0" in text, "a line of the log" in text))
            await desk.press("tab")
        first = (True, False, False, False)
        assert seen[0] == first
        assert [sum(one) for one in seen] == [1] * 5
        assert seen[4] == first
        await desk.press("shift+tab")
        assert desk.screen.focused is desk.screen.query_one(OptionRows)


@in_loop
async def test_a_pane_takes_the_whole_body_and_gives_it_back() -> None:
    async with opened() as desk:
        desk.screen.query_one("#log").focus()
        await desk.press("f")
        assert "The result" not in desk.text
        await desk.press("escape")
        assert "The result" in desk.text


@in_loop
async def test_read_only_changes_nothing() -> None:
    client, _ = with_run()
    async with opened(client, read_only=True) as desk:
        assert "Opened with --read-only" in desk.text
        desk.screen.query_one(OptionRows).focus()
        await desk.press("right", "enter", "p", "m", "K", "y", "r")
        changing = {"ChangeSession", "Pause", "Steer", "Submit"}
        assert not {type(command).__name__ for command in desk.daemon.asked} & changing
        assert desk.daemon.submitted == []
        assert desk.daemon.changes == []


@in_loop
async def test_nothing_is_sent_while_nothing_happens() -> None:
    client, row = with_run()
    async with opened(client) as desk:
        await desk.tell(curve(row, 100, loss=0.7))
        grid = desk.screen.query_one(CurveGrid)
        before = (grid.num_draws, grid.chart("loss").num_cells_sent, len(desk.daemon.asked))
        await desk.pilot.pause(1.0)
        assert (grid.num_draws, grid.chart("loss").num_cells_sent, len(desk.daemon.asked)) == before


@in_loop
async def test_ten_points_more_send_tens_of_cells() -> None:
    client, row = with_run()
    client.daemon.jobs[0] = row = msgspec.structs.replace(
        row, spec=msgspec.structs.replace(row.spec, training=TrainingSpec(max_train_steps=1000))
    )
    async with opened(client) as desk:
        steps = tuple(range(1, 501))
        await desk.tell(MetricsRecorded(job_id=row.id, steps=steps, values={"loss": tuple(1 / step for step in steps)}))
        loss = desk.screen.query_one(CurveGrid).chart("loss")
        before = loss.num_cells_sent
        await desk.tell(MetricsRecorded(job_id=row.id, steps=tuple(range(501, 511)), values={"loss": (0.0021,) * 10}))
        assert 0 < loss.num_cells_sent - before <= 24


@in_loop
async def test_ascii_charts_are_ascii() -> None:
    client, row = with_run()
    async with opened(client, ascii=True) as desk:
        await desk.tell(curve(row, 100, loss=0.7))
        assert desk.screen.query_one(CurveGrid).chart("loss").text.isascii()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
@in_loop
async def test_the_screen_looks_as_it_did(size: tuple[int, int]) -> None:
    client, row = with_run("paused")
    async with opened(client, size=size) as desk:
        await desk.tell(
            curve(row, 4, loss=0.7, grad_norm=0.5, learning_rate=1e-4, adapter_norm=2.0),
            MetricsRecorded(job_id=row.id, steps=(0,), values={"held_out_loss": (0.7,), "leak": (0.0,)}),
            MetricsRecorded(job_id=row.id, steps=(4,), values={"held_out_loss": (0.6,), "leak": (0.25,)}),
        )
        if size == (80, 24):
            await desk.press("tab")
        assert matches(f"train-{size[0]}x{size[1]}", CLOCK.sub("00:00:00", await settled(desk.pilot)))


@in_loop
async def test_60x20_is_usable() -> None:
    client, row = with_run()
    async with opened(client, size=(60, 20)) as desk:
        await desk.tell(curve(row, 100, loss=0.7), samples(row, 0))
        for _ in range(8):
            await desk.press("tab", "f", "left", "f")
        assert "run 1 of 1" in desk.text
