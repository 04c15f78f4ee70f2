from __future__ import annotations

import pytest
from textual.pilot import Pilot

from daemon.protocol.commands import SessionRow
from daemon.protocol.events import ImageSaved
from daemon.protocol.specs import job_specs
from negtui.app import NegtuiApp
from negtui.screens.compare import CompareScreen
from tests.curation_daemon import ARMS, CurationDaemon, client, in_loop, press, record, told
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS, SPEC
from tests.snapshots.screens import SIZES, matches, settled, text_of

ROWS = (SessionRow(name="toy", num_images=6, adapters=("wrong",), comparisons=("default", "second")),)


def app(found: FakeClient, **named: object) -> NegtuiApp:
    return NegtuiApp(found.connect, start="compare", **named)  # type: ignore[arg-type]


async def opened(pilot: Pilot[None]) -> CompareScreen:
    screen = pilot.app.screen
    assert isinstance(screen, CompareScreen)
    for _ in range(60):
        await pilot.pause(0.05)
        if len(screen.looking.every) == 3:
            break
    await pilot.pause(0.2)
    return screen


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (60, 20)])
@in_loop
async def test_blocks_stand_in_rows_and_arms_in_columns_clean(size: tuple[int, int]) -> None:
    async with app(client(sessions=ROWS)).run_test(size=size) as pilot:
        await opened(pilot)
        text = text_of(pilot.app)
        assert "\x1b" not in text
        assert "[31m" not in text
        assert "a star [0] (seed 0)" in text
        assert "> baseline" in text
        assert "toy/second (2 of 2, [ ]): 3 arms, 3 blocks" in text
        assert all(arm in text for arm in ARMS[: max(1, size[0] // 20)])
        assert "▀" in text


@in_loop
async def test_cursor_keys_pages_and_other_comparisons() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "down", "right")
        assert (screen.looking.block, screen.looking.arm) == (1, 1)
        await press(pilot, "G")
        assert screen.looking.block == 2
        await press(pilot, "g", "left_square_bracket")
        await pilot.pause(0.3)
        assert screen.looking.name == "default"
        assert screen.looking.block == 0
        await press(pilot, "right_square_bracket", "right", "left")
        await pilot.pause(0.3)
        assert screen.looking.name == "second"
        assert screen.looking.arm == 0


@in_loop
async def test_what_a_picture_is_is_copied_with_one_key() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "right", "y")
        copied = pilot.app.clipboard
        assert "Seed: 1" in copied
        assert "Arm: placebo of toy/second" in copied
        await press(pilot, "o")
        assert pilot.app.clipboard == "/w/sessions/toy/comparisons/second/report.html"
        assert "sheet.png" in told(pilot.app)


@in_loop
async def test_a_filter_shows_some_blocks() -> None:
    async with app(client(sessions=ROWS)).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "slash", *"[1]", "enter")
        assert [block.index for block in screen.looking.blocks] == [1]
        await press(pilot, "escape")
        assert len(screen.looking.blocks) == 3


@in_loop
async def test_a_comparison_is_started_after_a_yes() -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "r")
        await press(pilot, "n")
        assert found.daemon.submitted == []
        await press(pilot, "r")
        await press(pilot, "y")
        assert [spec for spec, _ in found.daemon.submitted] == [JOBS["compare"]]


@in_loop
async def test_a_comparison_on_every_prompt_is_started_after_a_yes() -> None:
    found = client(sessions=ROWS)
    async with app(found).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "R")
        assert "Compare on every prompt for toy?" in text_of(pilot.app)
        await press(pilot, "y")
        full = job_specs("toy", SPEC, full=True)["compare"]
        assert [spec for spec, _ in found.daemon.submitted] == [full] != [JOBS["compare"]]


@in_loop
async def test_it_is_seen_while_it_is_painted() -> None:
    daemon = CurationDaemon()
    found = client(daemon, (SessionRow(name="toy"),))
    row = daemon.add(JOBS["compare"], "running")
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, CompareScreen)
        await pilot.pause(0.3)
        assert "no comparison yet" in text_of(pilot.app)
        for arm in ARMS:
            found.tell(ImageSaved(job_id=row.id, session="toy", image=record(0, arm=arm), index=0, num_images=3))
        await pilot.pause(0.4)
        assert [arm.name for arm in screen.looking.arms] == list(ARMS)
        assert len(screen.looking.blocks) == 1


@pytest.mark.parametrize("size", SIZES)
@in_loop
async def test_it_looks_as_it_did(size: tuple[int, int]) -> None:
    async with app(client(sessions=ROWS)).run_test(size=size) as pilot:
        await opened(pilot)
        assert matches(f"compare-{size[0]}x{size[1]}", await settled(pilot))
