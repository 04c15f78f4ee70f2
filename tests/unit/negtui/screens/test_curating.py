from __future__ import annotations

from textual.pilot import Pilot

from daemon.protocol.commands import MarkImages, RestoreMarks
from negtui.screens.dataset import DatasetScreen
from tests.curation_daemon import CurationDaemon, client, in_loop, press
from tests.unit.negtui.screens.test_dataset import app


async def opened(pilot: Pilot[None], number: int) -> DatasetScreen:
    screen = pilot.app.screen
    assert isinstance(screen, DatasetScreen)
    for _ in range(100):
        await pilot.pause(0.05)
        if len(screen.grid.items) == number:
            break
    return screen


@in_loop
async def test_more_than_a_command_holds_is_marked_and_restored_in_parts() -> None:
    daemon = CurationDaemon(num_images=1200)
    found = client(daemon)
    sent: list[int] = []
    request = daemon.request

    async def watched(command: object) -> object:
        if isinstance(command, (MarkImages, RestoreMarks)):
            sent.append(len(command.ids if isinstance(command, MarkImages) else command.marks))
        return await request(command)  # type: ignore[arg-type]

    daemon.request = watched  # type: ignore[assignment,method-assign]
    async with app(found).run_test(size=(80, 24)) as pilot:
        await opened(pilot, 1200)
        await press(pilot, "asterisk", "x")
        await pilot.pause(0.3)
        assert sent == [1000, 200]
        assert all(one.status == "reject" for one in daemon.records.values())
        await press(pilot, "u")
        await pilot.pause(0.3)
        assert sorted(sent[2:]) == [200, 1000]
        assert all(one.status == "undecided" for one in daemon.records.values())


@in_loop
async def test_with_a_status_filter_the_next_picture_takes_the_place() -> None:
    found = client()
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, 6)
        await press(pilot, "m", "x")
        assert [one.id for one in screen.gallery.shown] == ["id1", "id2", "id3", "id4", "id5"]
        assert screen.current is not None
        assert screen.current.id == "id1"
        await press(pilot, "u")
        assert screen.current is not None
        assert screen.current.id == "id0"


@in_loop
async def test_escape_leaves_one_level_at_a_time() -> None:
    async with app(client()).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, 6)
        await press(pilot, "w", "space", "enter")
        assert screen.has_class("-full")
        await press(pilot, "escape")
        assert not screen.has_class("-full")
        assert screen.gallery.selected
        await press(pilot, "escape")
        assert not screen.gallery.selected
        assert screen.gallery.filter.keyword == "blurry"
        await press(pilot, "escape")
        assert screen.gallery.filter.keyword is None
        assert not screen.go_back()


@in_loop
async def test_the_prompt_is_copied_with_its_seed() -> None:
    async with app(client()).run_test(size=(80, 24)) as pilot:
        await opened(pilot, 6)
        await press(pilot, "right", "y")
        assert "Seed: 1" in pilot.app.clipboard
