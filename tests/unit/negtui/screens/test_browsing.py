"""The pictures of a dataset filtered, ordered, and one of them full screen."""

from __future__ import annotations

from textual.widgets import Static

from tests.curation_daemon import CurationDaemon, client, in_loop, press, record, told
from tests.snapshots.screens import text_of
from tests.unit.negtui.screens.test_dataset import app, opened, statuses


@in_loop
async def test_filters_cycle_combine_and_escape_clears_them() -> None:
    async with app(client()).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "w")
        assert [one.keyword for one in screen.gallery.shown] == ["blurry", "blurry"]
        await press(pilot, "v")
        assert [one.id for one in screen.gallery.shown] == ["id0"]
        assert "keyword blurry, guidance 3" in text_of(pilot.app)
        await press(pilot, "escape")
        assert len(screen.gallery.shown) == 6
        await press(pilot, "slash", *"cropped", "enter")
        assert [one.keyword for one in screen.gallery.shown] == ["cropped", "cropped"]


@in_loop
async def test_a_picture_full_screen_is_stepped_and_marked() -> None:
    found = client()
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "enter")
        assert screen.has_class("-full")
        await press(pilot, "right", "right", "left", "a")
        assert statuses(found) == ".+...."
        assert screen.current is not None
        assert screen.current.id == "id2"
        await press(pilot, "escape")
        assert not screen.has_class("-full")
        assert screen.grid.has_focus


@in_loop
async def test_the_balance_per_keyword_is_shown() -> None:
    async with app(client()).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "x", "b")
        words = str(screen.query_one("#dataset-balance", Static).content)
        assert "blurry" in words
        assert "the fewest" in words


@in_loop
async def test_tags_filter_and_the_order_is_not_bad_enough_first_where_there_are_scores() -> None:
    daemon = CurationDaemon()
    badness = {"id0": 0.9, "id1": 0.1, "id2": 0.5}
    daemon.records = {
        id: record(number, tags=("hands",) if number == 1 else (), values={"badness": value})
        for number, (id, value) in enumerate(badness.items())
    }
    async with app(client(daemon)).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        assert [item.key for item in screen.grid.items] == list(badness)
        assert "As painted." in text_of(pilot.app)
        await press(pilot, "o")
        assert [item.key for item in screen.grid.items] == ["id1", "id2", "id0"]
        assert "Not bad enough first." in text_of(pilot.app)
        for shown in ("id1", "id2", "id0"):
            await press(pilot, "s")
            assert [item.key for item in screen.grid.items] == [shown]
        assert "1 shown: worst third." in text_of(pilot.app)
        await press(pilot, "s", "o")
        assert [item.key for item in screen.grid.items] == list(badness)[::-1]
        await press(pilot, "o", "number_sign")
        assert [item.key for item in screen.grid.items] == ["id1"]
        assert "tag hands" in text_of(pilot.app)
        await press(pilot, "number_sign")
        assert [item.key for item in screen.grid.items] == list(badness)


@in_loop
async def test_without_scores_the_order_is_as_painted_or_newest_first() -> None:
    async with app(client()).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        painted = [item.key for item in screen.grid.items]
        await press(pilot, "o")
        assert [item.key for item in screen.grid.items] == painted[::-1]
        assert "Newest first." in text_of(pilot.app)
        await press(pilot, "o")
        assert [item.key for item in screen.grid.items] == painted
        assert "Newest first." not in text_of(pilot.app)
        await press(pilot, "number_sign")
        assert "No picture here has a tag." in told(pilot.app)
        await press(pilot, "s")
        assert "No picture here has a score." in told(pilot.app)


@in_loop
async def test_escape_leaves_one_level_at_a_time() -> None:
    async with app(client()).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
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
        await opened(pilot)
        await press(pilot, "right", "y")
        assert "Seed: 1" in pilot.app.clipboard
