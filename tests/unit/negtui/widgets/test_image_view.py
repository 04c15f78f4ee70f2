"""The picture widget on terminals made of Pillow: what a person would see, and how many bytes it took."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from PIL import Image
from textual import events
from textual.app import App, ComposeResult
from textual.screen import Screen
from textual.widgets import Static

from daemon.protocol.errors import NegError
from negtui.pixels.base import Backend, Choice
from negtui.pixels.payload import flatten
from negtui.pixels.pictures import Pictures, thumbnail_path
from negtui.widgets.image_view import ImageView, Picture
from tests.fake_terminal import FakeTerminal, WindowDriver, difference, in_loop
from tests.sample_pictures import busy, png, typical, webp

PICTURE = Picture("toy", "dataset/a.png", 512, 512)
OTHER = Picture("toy", "dataset/b.png", 512, 512)


class Disk:
    """Session files as the daemon serves them."""

    def __init__(self, images: dict[str, Image.Image]) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        for path, image in images.items():
            self.files[path] = png(image)
            for pixels in (64, 256, 512):
                self.files[thumbnail_path(path, pixels)] = webp(image, pixels)

    async def fetch(self, session: str, path: str) -> bytes:
        self.asked.append(path)
        if path not in self.files:
            raise NegError("not_found", f"{path} is not there.")
        return self.files[path]


class Gallery(App[None]):
    CSS = "#under { height: 1; } .gone { display: none; }"

    def __init__(self, pictures: Pictures, terminal: FakeTerminal) -> None:
        super().__init__()
        self.pictures = pictures
        self.driver_class = WindowDriver.of(terminal)
        self.image = ImageView(PICTURE)

    def compose(self) -> ComposeResult:
        yield self.image
        yield Static("under it", id="under")

    @property
    def bytes(self) -> int:
        driver: Any = self._driver
        return int(driver.text_bytes + driver.picture_bytes)


def gallery(backend: Backend, *, over_ssh: bool = False, columns: int = 30, rows: int = 16) -> tuple[Gallery, FakeTerminal, Disk]:
    terminal = FakeTerminal(columns, rows)
    disk = Disk({"dataset/a.png": busy(512), "dataset/b.png": typical(512)})
    choice = Choice(backend=backend, available=(backend, "half", "off"), over_ssh=over_ssh)
    return Gallery(Pictures(disk.fetch, choice), terminal), terminal, disk


async def settle(app: Gallery, drawn: str, *, at_rest: bool = True) -> None:
    """Until the view shows `drawn`."""
    for _ in range(400):
        await asyncio.sleep(0.02)
        if app.image.drawn == drawn and not (at_rest and any(worker.is_running for worker in app.workers)):
            break
    assert app.image.drawn == drawn
    for _ in range(5):
        await asyncio.sleep(0.02)


def expected(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return flatten(image).resize(size, Image.Resampling.LANCZOS)


@pytest.fixture(autouse=True)
def truecolour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.parametrize("backend", ["kitty", "sixel", "half"])
@in_loop
async def test_the_pixels_of_the_picture_stand_on_the_screen(backend: Backend) -> None:
    app, terminal, _ = gallery(backend)
    async with app.run_test(headless=False):
        await settle(app, backend)
        seen = terminal.picture(0, 0, 30, 15)
        far = 30.0 if backend == "half" else 6.0
        assert difference(seen, expected(busy(512), seen.size)) < far
        assert "under it" in terminal.text


@pytest.mark.parametrize("backend", ["kitty", "sixel"])
@in_loop
async def test_half_blocks_stand_there_until_the_pixels_have_been_sent(backend: Backend) -> None:
    app, terminal, _ = gallery(backend)
    held: list[Any] = []
    app.pictures.connect = lambda sender: app.pictures.painter.connect(Held(sender, held))  # type: ignore[method-assign,assignment]
    async with app.run_test(headless=False):
        if backend == "kitty":
            await settle(app, "half", at_rest=False)
        else:
            await settle(app, "sixel")
        assert terminal.images == {}
        assert terminal.sixels == 0
        for send in held:
            send()
        held.clear()
        await settle(app, backend)
        assert difference(terminal.picture(0, 0, 30, 15), expected(busy(512), (300, 300))) < 6


class Deaf(ImageView):
    """Is not told of its size, as happens to widgets that become visible while much else goes on."""

    def on_resize(self, event: events.Resize) -> None:
        event.prevent_default()


@in_loop
async def test_a_picture_comes_also_where_the_size_was_not_told() -> None:
    app, _, _ = gallery("half")
    app.image = Deaf(PICTURE)
    async with app.run_test(headless=False):
        await settle(app, "half")
        assert app.image.drawn == "half"


class Held:
    """A line that lets nothing through until it is told."""

    def __init__(self, sender: Any, held: list[Any]) -> None:
        self.sender, self.held = sender, held

    def send(self, *given: Any) -> None:
        self.held.append(lambda: self.sender.send(*given))


@in_loop
async def test_a_picture_that_was_shown_is_not_sent_again() -> None:
    app, terminal, disk = gallery("kitty", columns=60, rows=31)
    async with app.run_test(headless=False):
        await settle(app, "kitty")
        app.image.picture = OTHER
        await settle(app, "kitty")
        before, asked = app.bytes, len(disk.asked)
        app.image.picture = PICTURE
        await settle(app, "kitty")
        assert app.bytes - before <= 16_000
        assert len(disk.asked) == asked
        assert difference(terminal.picture(0, 0, 60, 30), expected(busy(512), (600, 600))) < 6
        before = app.bytes
        app.image.refresh()
        await asyncio.sleep(0.1)
        assert app.bytes - before <= 16_000


@pytest.mark.parametrize(("picture", "most"), [(PICTURE, 360_000), (OTHER, 150_000)])
@in_loop
async def test_the_first_picture_over_ssh_keeps_to_its_budget(picture: Picture, most: int) -> None:
    app, terminal, _ = gallery("kitty", over_ssh=True, columns=60, rows=31)
    app.image.set_reactive(ImageView.picture, picture)
    async with app.run_test(headless=False):
        await settle(app, "kitty")
        assert app.bytes <= most
        image = busy(512) if picture is PICTURE else typical(512)
        assert difference(terminal.picture(0, 0, 60, 30), expected(image, (600, 600))) < 12


@pytest.mark.parametrize("backend", ["kitty", "sixel", "half"])
@in_loop
async def test_nothing_is_written_while_nothing_happens(backend: Backend) -> None:
    app, _, _ = gallery(backend)
    async with app.run_test(headless=False):
        await settle(app, backend)
        before = app.bytes
        await asyncio.sleep(0.5)
        assert app.bytes == before


@pytest.mark.parametrize("backend", ["kitty", "sixel"])
@in_loop
async def test_a_line_beside_the_picture_does_not_send_it_again(backend: Backend) -> None:
    app, terminal, _ = gallery(backend)
    async with app.run_test(headless=False):
        await settle(app, backend)
        before = app.bytes
        app.query_one("#under", Static).update("something else")
        await asyncio.sleep(0.2)
        assert 0 < app.bytes - before < 500
        assert difference(terminal.picture(0, 0, 30, 15), expected(busy(512), (300, 300))) < 6


@pytest.mark.parametrize("backend", ["kitty", "sixel"])
@in_loop
async def test_pictures_come_back_after_the_terminal_lost_them(backend: Backend) -> None:
    app, terminal, _ = gallery(backend)
    async with app.run_test(headless=False):
        await settle(app, backend)
        terminal.lose_pictures()
        terminal.canvas.paste((0, 0, 0, 0), (0, 0, *terminal.canvas.size))
        app.pictures.resend()
        await settle(app, backend)
        assert difference(terminal.picture(0, 0, 30, 15), expected(busy(512), (300, 300))) < 6


@pytest.mark.parametrize("backend", ["kitty", "sixel"])
@in_loop
async def test_a_dialog_over_the_middle_leaves_a_whole_picture(backend: Backend) -> None:
    app, terminal, _ = gallery(backend)
    async with app.run_test(headless=False) as pilot:
        await settle(app, backend)
        dialog = Static("Sure?")
        dialog.styles.layer = "above"
        dialog.styles.offset = (8, 6)
        dialog.styles.width, dialog.styles.height = 12, 3
        app.screen.styles.layers = ("default", "above")
        await app.mount(dialog)
        await pilot.pause(0.3)
        assert "Sure?" in terminal.text
        await dialog.remove()
        await pilot.pause(0.3)
        await settle(app, backend)
        assert difference(terminal.picture(0, 0, 30, 15), expected(busy(512), (300, 300))) < 6


@in_loop
async def test_another_place_uses_what_was_sent() -> None:
    app, terminal, _ = gallery("kitty")
    async with app.run_test(headless=False):
        await settle(app, "kitty")
        before = app.bytes
        app.image.styles.height = 12
        await asyncio.sleep(0.5)
        await settle(app, "kitty")
        assert app.bytes - before < 40_000
        assert list(terminal.places.values()) == [(24, 12)]


@in_loop
async def test_a_screen_that_is_not_seen_is_sent_when_it_is() -> None:
    app, terminal, _ = gallery("kitty")
    async with app.run_test(headless=False) as pilot:
        await settle(app, "kitty")
        await app.push_screen(Screen())
        await pilot.pause(0.2)
        terminal.lose_pictures()
        app.pictures.resend()
        await pilot.pause(0.3)
        assert terminal.images == {}
        await app.pop_screen()
        await settle(app, "kitty")
        assert difference(terminal.picture(0, 0, 30, 15), expected(busy(512), (300, 300))) < 6


@in_loop
async def test_backends_follow_one_another_and_off_says_so() -> None:
    app, terminal, _ = gallery("kitty")
    async with app.run_test(headless=False):
        await settle(app, "kitty")
        assert app.pictures.cycle() == "half"
        await settle(app, "half")
        assert app.pictures.cycle() == "off"
        await settle(app, "")
        assert "pictures are off" in terminal.text
        assert app.pictures.cycle() == "kitty"
        await settle(app, "kitty")


@in_loop
async def test_what_cannot_be_shown_is_said_without_escapes() -> None:
    app, terminal, disk = gallery("half", columns=80, rows=16)
    disk.files["dataset/evil.png"] = b"no picture"
    app.image.set_reactive(ImageView.picture, Picture("toy", "dataset/evil.png"))
    async with app.run_test(headless=False):
        await asyncio.sleep(0.4)
        assert "is no picture that can be shown" in terminal.text
        app.image.picture = Picture("toy", "dataset/\x1b[2Jmissing.png")
        await asyncio.sleep(0.4)
        assert "missing.png is not there" in terminal.text


@in_loop
async def test_pictures_in_memory_are_shown_too() -> None:
    app, terminal, _ = gallery("kitty")
    async with app.run_test(headless=False):
        await settle(app, "kitty")
        app.image.show(Image.new("RGB", (64, 64), (200, 40, 40)), key="red")
        await settle(app, "kitty")
        assert terminal.picture(14, 7, 2, 2).getpixel((5, 5)) == (200, 40, 40)


@in_loop
async def test_without_a_terminal_for_pixels_half_blocks_are_drawn() -> None:
    app, _, _ = gallery("kitty")
    async with app.run_test(headless=True, size=(30, 16)):
        await settle(app, "half")


@in_loop
async def test_a_painting_that_is_overtaken_before_it_began_leaves_nothing_behind() -> None:
    """A coroutine that is never awaited would be a warning, which is an error here."""
    app, _, _ = gallery("half")
    async with app.run_test(headless=False):
        for number in range(4):
            app.image.show(Image.new("RGB", (64, 64), (50 * number, 40, 40)), key=number)
        gc.collect()
        await settle(app, "half")


@in_loop
async def test_what_is_shown_next_is_fetched_ahead() -> None:
    app, _, disk = gallery("half")
    async with app.run_test(headless=False):
        await settle(app, "half")
        await app.image.fetch_ahead(OTHER)
        asked = len(disk.asked)
        app.image.picture = OTHER
        await settle(app, "half")
        assert len(disk.asked) == asked


@in_loop
async def test_a_question_below_a_picture_costs_next_to_nothing() -> None:
    app, _, _ = gallery("kitty", columns=60, rows=31)
    async with app.run_test(headless=False):
        await settle(app, "kitty")
        line, before = app.query_one("#under", Static), app.bytes
        line.update("Delete this picture? y/n", layout=False)
        await asyncio.sleep(0.1)
        line.update("under it", layout=False)
        await asyncio.sleep(0.1)
        assert 0 < app.bytes - before <= 3_000
