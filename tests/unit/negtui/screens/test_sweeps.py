from __future__ import annotations

import msgspec
import pytest

from daemon.protocol.commands import AnyCommand, AnyResult, ReadSweep, SessionRow
from negtui.app import NegtuiApp
from negtui.screens.compare import CompareScreen
from negtui.screens.sweeps import SweepsScreen, sweeps_text
from tests.curation_daemon import CurationDaemon, in_loop, press, told
from tests.fake_client import FakeClient
from tests.snapshots.screens import SIZES, matches, settled, text_of
from tests.unit.negtui.test_sweeping import ANSWER


class Told(CurationDaemon):
    async def request(self, command: AnyCommand) -> AnyResult:
        return ANSWER if isinstance(command, ReadSweep) else await super().request(command)


def test_names_from_outside_are_clean() -> None:
    table = msgspec.structs.replace(ANSWER.table, verdict="\x1b[31mred")
    assert "\x1b" not in sweeps_text([msgspec.structs.replace(ANSWER, table=table)]).plain


def compared(*sweeps: str, read_only: bool = False) -> NegtuiApp:
    """On the compare screen of a session with these sweeps."""
    found = FakeClient(Told(), sessions=(SessionRow(name="toy", sweeps=sweeps),))
    return NegtuiApp(found.connect, start="compare", read_only=read_only)  # type: ignore[arg-type]


@pytest.mark.parametrize("sweeps", [(), ("default",)])
@in_loop
async def test_a_key_of_the_compare_screen_opens_the_tables(sweeps: tuple[str, ...]) -> None:
    app = compared(*sweeps)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "w")
        await pilot.pause(0.2)
        if not sweeps:
            assert isinstance(app.screen, CompareScreen)
            assert "has no sweep yet" in told(app)
            return
        assert isinstance(app.screen, SweepsScreen)
        text = text_of(app)
        assert "stopped after 4 blocks" in text
        assert "sweeps/default/table.csv" in text
        await press(pilot, "escape")
        assert isinstance(app.screen, CompareScreen)


@in_loop
async def test_read_only_shows_them_too() -> None:
    async with compared("default", read_only=True).run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "w")
        assert isinstance(pilot.app.screen, SweepsScreen)


@pytest.mark.parametrize("size", SIZES)
@in_loop
async def test_it_looks_as_it_did(size: tuple[int, int]) -> None:
    async with compared("default").run_test(size=size) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "w")
        assert isinstance(pilot.app.screen, SweepsScreen)
        assert matches(f"sweeps-{size[0]}x{size[1]}", await settled(pilot))
