from __future__ import annotations

import io

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from daemon.protocol.commands import AnyCommand, AnyResult, ListImages, RestoreMarks
from daemon.protocol.errors import NegError
from daemon.protocol.events import ImageSaved, ImagesMarked, Mark, Preview
from negtui.app import NegtuiApp
from negtui.screens.dataset import DatasetScreen
from tests.curation_daemon import CurationDaemon, client, in_loop, painting, png, press, record, told
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS
from tests.snapshots.screens import SIZES, matches, settled, text_of


def app(found: FakeClient, **named: object) -> NegtuiApp:
    return NegtuiApp(found.connect, start="dataset", **named)  # type: ignore[arg-type]


async def opened(pilot: Pilot[None]) -> DatasetScreen:
    screen = pilot.app.screen
    assert isinstance(screen, DatasetScreen)
    for _ in range(50):
        await pilot.pause(0.05)
        if screen._is_loaded and screen.session and screen.gallery.records:
            break
    return screen


def statuses(found: FakeClient) -> str:
    assert isinstance(found.daemon, CurationDaemon)
    return "".join({"undecided": ".", "keep": "+", "reject": "x"}[one.status] for one in found.daemon.records.values())


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 20)])
@in_loop
async def test_all_pages_are_listed_and_shown(size: tuple[int, int]) -> None:
    async with app(client()).run_test(size=size) as pilot:
        screen = await opened(pilot)
        assert [item.key for item in screen.grid.items] == [f"id{number}" for number in range(6)]
        text = text_of(pilot.app)
        assert "toy: 6 pictures" in text
        assert "(blurry)++++" in text
        assert screen.grid.page_size >= (6 if size[0] >= 80 else 3)


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
        found.daemon.refusal = NegError("disk_full", "There is no room.", "Make some.")
        request = found.daemon.request

        async def refuse(command: object) -> object:
            raise NegError("disk_full", "There is no room.", "Make some.")

        found.daemon.request = refuse  # type: ignore[assignment,method-assign]
        await press(pilot, "x")
        found.daemon.request = request  # type: ignore[method-assign]
        assert screen.gallery.records["id0"].status == "undecided"
        assert "no room" in told(pilot.app)


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
async def test_pictures_and_marks_of_others_appear_and_a_preview_is_painted() -> None:
    found = client()
    row = found.daemon.add(JOBS["synthesize"], "running")
    async with app(found).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        stream = io.BytesIO()
        painting(3).save(stream, "JPEG")
        found.tell(Preview(job_id=row.id, image_id="id6", step=3, num_steps=4, jpeg=stream.getvalue()))
        await pilot.pause(0.3)
        assert screen.grid.items[-1].key == "id6"
        assert "paints 3 of 4" in text_of(pilot.app)
        fresh = record(6)
        found.files["toy", fresh.path] = png(painting(6))
        found.tell(
            ImageSaved(job_id=row.id, session="toy", image=fresh, index=6, num_images=7),
            ImagesMarked(session="toy", folder="dataset", marks=(Mark(id="id2", status="reject"),)),
        )
        await pilot.pause(0.4)
        assert screen.gallery.records["id6"] == fresh
        assert screen.gallery.records["id2"].status == "reject"
        assert len(screen.grid.items) == 7


@in_loop
async def test_a_plan_is_made_shown_and_started() -> None:
    found = client()
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "e")
        await pilot.pause(0.6)
        assert screen.has_class("-planning")
        assert "4 pictures, 3 to paint, about 2 min 10 s" in text_of(pilot.app)
        await press(pilot, *", ugly")
        await press(pilot, "ctrl+s")
        await pilot.pause(0.3)
        assert isinstance(found.daemon, CurationDaemon)
        assert found.daemon.changed == [{"synthesis.keywords": '["blurry", "cropped", "ugly"]'}]
        assert [spec for spec, _ in found.daemon.submitted] == [JOBS["synthesize"]]
        assert not screen.has_class("-planning")


@in_loop
async def test_a_bad_plan_is_said_and_not_asked() -> None:
    async with app(client()).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "e")
        await pilot.pause(0.2)
        await press(pilot, "down", "down", *", 200")
        assert screen.plan_pane.draft is None
        assert "guidance_scales" in text_of(pilot.app)
        await press(pilot, "escape")
        assert not screen.has_class("-planning")


@in_loop
async def test_start_asks_first_naming_what_it_takes() -> None:
    found = client()
    async with app(found).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "r")
        assert "Paint 3 pictures for toy (about 2 min 10 s, 40.0 kB)?" in text_of(pilot.app)
        await press(pilot, "n")
        assert found.daemon.submitted == []
        await press(pilot, "r")
        await press(pilot, "y")
        assert [spec for spec, _ in found.daemon.submitted] == [JOBS["synthesize"]]


@in_loop
async def test_the_balance_per_keyword_is_shown() -> None:
    async with app(client()).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "x", "b")
        words = str(screen.query_one("#dataset-balance", Static).content)
        assert "blurry" in words
        assert "the fewest" in words


@in_loop
async def test_read_only_marks_nothing() -> None:
    found = client()
    async with app(found, read_only=True).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "x")
        assert statuses(found) == "......"
        assert screen.gallery.records["id0"].status == "undecided"


def with_class_images() -> FakeClient:
    daemon = CurationDaemon()
    for number in range(3):
        own = record(number + 20, keyword=None, path=f"class_images/id{number + 20}.png")
        daemon.class_records[own.id] = own
    return client(daemon)


async def press_c(pilot: Pilot[None], screen: DatasetScreen) -> None:
    await press(pilot, "C")
    while not screen._is_loaded:
        await pilot.pause(0.05)
    await pilot.pause(0.1)


@in_loop
async def test_class_images_are_shown_and_marked_in_their_own_folder() -> None:
    found = with_class_images()
    assert isinstance(found.daemon, CurationDaemon)
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press_c(pilot, screen)
        assert [item.key for item in screen.grid.items] == ["id20", "id21", "id22"]
        assert "toy: 3 class images, 3 undecided. C: the dataset." in text_of(pilot.app)
        await press(pilot, "x")
        assert [one.status for one in found.daemon.class_records.values()] == ["reject", "undecided", "undecided"]
        await press(pilot, "u")
        assert [one.status for one in found.daemon.class_records.values()] == ["undecided"] * 3
        assert statuses(found) == "......"
        await press(pilot, "escape")
        await opened(pilot)
        assert "toy: 6 pictures" in text_of(pilot.app)


@in_loop
async def test_class_images_that_a_training_paints_appear_and_its_other_pictures_do_not() -> None:
    found = with_class_images()
    row = found.daemon.add(JOBS["train"], "running")
    async with app(found).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        for number, folder in ((30, "class_images"), (31, "samples")):
            fresh = record(number, path=f"{folder}/id{number}.png")
            found.files["toy", fresh.path] = png(painting(number))
            found.tell(ImageSaved(job_id=row.id, session="toy", image=fresh, index=3, num_images=4))
        await pilot.pause(0.3)
        assert len(screen.grid.items) == 6
        await press_c(pilot, screen)
        assert [item.key for item in screen.grid.items] == ["id20", "id21", "id22", "id30"]
        found.tell(ImagesMarked(session="toy", folder="class_images", marks=(Mark(id="id30", status="reject"),)))
        await pilot.pause(0.3)
        assert screen.gallery.records["id30"].status == "reject"


@in_loop
async def test_without_class_images_it_says_what_paints_them_and_counts_what_has_no_settings() -> None:
    found = client()
    assert isinstance(found.daemon, CurationDaemon)
    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press_c(pilot, screen)
        assert "This session has no class images" in text_of(pilot.app)
        await press_c(pilot, screen)
        assert len(screen.grid.items) == 6
        found.daemon.unlisted = ("class_images/own.png",)
        await press_c(pilot, screen)
        assert "1 more without settings, not shown." in text_of(pilot.app)


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
async def test_pictures_that_could_not_be_listed_are_listed_once_there_is_a_connection_again() -> None:
    found = client()
    request = found.daemon.request

    async def refuse(command: AnyCommand) -> AnyResult:
        if isinstance(command, ListImages):
            raise NegError("busy", "The connection was lost.", retryable=True)
        return await request(command)

    found.daemon.request = refuse  # type: ignore[method-assign]
    async with app(found).run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        found.lose()
        await pilot.pause(0.3)
        found.daemon.request = request  # type: ignore[method-assign]
        found.find_again()
        screen = await opened(pilot)
        assert len(screen.grid.items) == 6


@in_loop
async def test_an_undo_that_is_refused_is_taken_back_and_can_be_tried_again() -> None:
    found = client()
    request = found.daemon.request

    async def refuse(command: AnyCommand) -> AnyResult:
        if isinstance(command, RestoreMarks):
            raise NegError("disk_full", "There is no room.")
        return await request(command)

    async with app(found).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "u", "U")
        assert "There is nothing to undo." in told(pilot.app)
        assert "There is nothing to do again." in told(pilot.app)
        await press(pilot, "a")
        found.daemon.request = refuse  # type: ignore[method-assign]
        await press(pilot, "u")
        await pilot.pause(0.2)
        assert screen.gallery.records["id0"].status == "keep"
        found.daemon.request = request  # type: ignore[method-assign]
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
async def test_without_a_session_it_says_where_to_choose_one() -> None:
    async with app(client(sessions=())).run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        assert "Choose a session on screen 1" in text_of(pilot.app)


@pytest.mark.parametrize("size", SIZES)
@in_loop
async def test_it_looks_as_it_did(size: tuple[int, int]) -> None:
    async with app(client()).run_test(size=size) as pilot:
        await opened(pilot)
        assert matches(f"dataset-{size[0]}x{size[1]}", await settled(pilot))
