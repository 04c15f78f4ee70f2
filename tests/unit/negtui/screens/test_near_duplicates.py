from __future__ import annotations

from tests.curation_daemon import CurationDaemon, client, in_loop, press, told
from tests.snapshots.screens import text_of
from tests.unit.negtui.screens.test_dataset import app, opened


@in_loop
async def test_near_duplicates_are_shown_group_by_group() -> None:
    daemon = CurationDaemon()
    found = client(daemon)
    found.files["toy", "dataset/id4.png"] = found.files["toy", "dataset/id1.png"]
    async with app(found).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "d")
        await pilot.pause(0.5)
        assert ("id1", "id4") in screen.groups
        assert set(screen.gallery.group) <= {one.id for one in screen.gallery.shown}
        assert "Near-duplicates 1 of" in text_of(pilot.app)
        await press(pilot, "escape")
        assert len(screen.gallery.shown) == 6


@in_loop
async def test_where_there_are_none_it_is_said() -> None:
    async with app(client()).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "d")
        await pilot.pause(0.4)
        assert "No near-duplicates among 6 pictures." in told(pilot.app)
