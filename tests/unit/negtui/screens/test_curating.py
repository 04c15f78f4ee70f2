"""Marks: seen at once, sent, and taken back where they are refused or undone."""

from __future__ import annotations

from daemon.protocol.commands import MarkImages, RestoreMarks
from daemon.protocol.errors import NegError
from daemon.protocol.events import ImageSaved
from tests.curation_daemon import CurationDaemon, client, in_loop, press, record, told
from tests.fake_daemon import JOBS
from tests.snapshots.screens import text_of
from tests.unit.negtui.screens.test_dataset import app, opened, statuses


@in_loop
async def test_single_keys_mark_go_on_and_are_undone() -> None:
    found = client()
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "a", "x", "a")
        assert statuses(found) == "+x+..."
        assert screen.grid.cursor == 3
        await press(pilot, "u")
        assert statuses(found) == "+x...."
        await press(pilot, "u", "u")
        assert statuses(found) == "......"
        await press(pilot, "U")
        assert statuses(found) == "+....."
        await press(pilot, "c")
        assert statuses(found) == "......"


@in_loop
async def test_marks_apply_to_all_selected() -> None:
    found = client()
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "space", "space", "x")
        assert statuses(found) == "xx...."
        assert not screen.gallery.selected
        await press(pilot, "u")
        assert statuses(found) == "......"


@in_loop
async def test_tags_are_typed_and_bad_ones_refused_at_the_field() -> None:
    found = client()
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "t", *"b!d", "enter")
        assert screen.form.is_open
        assert "is no tag" in text_of(pilot.app)
        await press(pilot, "backspace", "backspace", "backspace", *"hands", "enter")
        assert isinstance(found.daemon, CurationDaemon)
        assert found.daemon.records["id0"].tags == ("hands",)
        assert not screen.form.is_open


@in_loop
async def test_a_refused_mark_is_taken_back_and_said() -> None:
    found = client()
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        found.refusals[MarkImages] = NegError("disk_full", "There is no room.", "Make some.")
        await press(pilot, "x")
        assert screen.gallery.records["id0"].status == "undecided"
        assert "no room" in told(pilot.app)


@in_loop
async def test_an_undo_that_is_refused_is_taken_back_and_can_be_tried_again() -> None:
    found = client()
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "u", "U")
        assert "There is nothing to undo." in told(pilot.app)
        assert "There is nothing to do again." in told(pilot.app)
        await press(pilot, "a")
        found.refusals[RestoreMarks] = NegError("disk_full", "There is no room.")
        await press(pilot, "u")
        await pilot.pause(0.2)
        assert screen.gallery.records["id0"].status == "keep"
        found.refusals.clear()
        await press(pilot, "u")
        assert statuses(found) == "......"
        assert screen.gallery.records["id0"].status == "undecided"


@in_loop
async def test_tags_go_to_the_pictures_that_the_form_was_opened_for() -> None:
    found = client()
    row = found.daemon.add(JOBS["synthesize"], "running")
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "G", "t", *"hands")
        fresh = record(30)
        found.daemon.records[fresh.id] = fresh  # type: ignore[attr-defined]
        found.tell(ImageSaved(job_id=row.id, session="toy", image=fresh, index=6, num_images=7))
        for _ in range(100):
            if screen.current == fresh:
                break
            await pilot.pause(0.05)
        assert screen.current == fresh, "the cursor follows what is painted"
        await press(pilot, "enter")
        assert [id for id, one in found.daemon.records.items() if one.tags] == ["id5"]  # type: ignore[attr-defined]


@in_loop
async def test_without_a_picture_its_keys_say_so() -> None:
    daemon = CurationDaemon()
    daemon.records = {}
    async with app(client(daemon)).run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.4)
        for key in ("a", "x", "c", "t", "space", "enter", "y"):
            pilot.app.clear_notifications()
            await press(pilot, key)
            assert "There is no picture here" in told(pilot.app), key


@in_loop
async def test_read_only_marks_nothing() -> None:
    found = client()
    async with app(found, read_only=True).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "x")
        assert statuses(found) == "......"
        assert screen.gallery.records["id0"].status == "undecided"


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
        await opened(pilot)
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
        screen = await opened(pilot)
        await press(pilot, "m", "x")
        assert [one.id for one in screen.gallery.shown] == ["id1", "id2", "id3", "id4", "id5"]
        assert screen.current is not None
        assert screen.current.id == "id1"
        await press(pilot, "u")
        assert screen.current is not None
        assert screen.current.id == "id0"
