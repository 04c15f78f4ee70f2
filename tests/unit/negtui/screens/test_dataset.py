from __future__ import annotations

import io

import pytest
from textual.pilot import Pilot

from daemon.protocol.commands import ListImages
from daemon.protocol.errors import NegError
from daemon.protocol.events import ImageSaved, ImagesMarked, Mark, Preview
from negtui.app import NegtuiApp
from negtui.screens.dataset import DatasetScreen
from tests.curation_daemon import CurationDaemon, client, in_loop, painting, png, press, record
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
async def test_pictures_that_could_not_be_listed_are_listed_once_there_is_a_connection_again() -> None:
    found = client()
    found.refusals[ListImages] = NegError("busy", "The connection was lost.", retryable=True)
    async with app(found).run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        found.lose()
        await pilot.pause(0.3)
        found.refusals.clear()
        found.find_again()
        screen = await opened(pilot)
        assert len(screen.grid.items) == 6


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
