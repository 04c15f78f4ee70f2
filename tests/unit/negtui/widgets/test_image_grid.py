"""The grid of pictures: pages, cursor, captions; what is fetched, what is sent."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from PIL import Image
from textual.app import App, ComposeResult
from textual.message import Message

from daemon.protocol.errors import NegError
from negtui.pixels.base import Backend, Choice
from negtui.pixels.pictures import Pictures
from negtui.widgets.image_grid import GridItem, ImageGrid, Tile, caption
from negtui.widgets.image_view import Picture
from tests.fake_terminal import FakeTerminal, WindowDriver, difference, in_loop
from tests.sample_pictures import busy, typical, webp


class Wall(App[None]):
    def __init__(self, terminal: FakeTerminal, items: list[GridItem], backend: Backend = "kitty", *, over_ssh: bool = False) -> None:
        super().__init__()
        self.driver_class = WindowDriver.of(terminal)
        self.asked: list[str] = []
        self.thumbnails = [webp(image, 256) for image in (busy(512), typical(512))]
        choice = Choice(backend=backend, available=(backend, "half", "off"), over_ssh=over_ssh)
        self.pictures = Pictures(self.fetch, choice)
        self.grid = ImageGrid(items)
        self.heard: list[tuple[str, object]] = []

    async def fetch(self, session: str, path: str) -> bytes:
        self.asked.append(path)
        if "missing" in path:
            raise NegError("not_found", "It is not there.")
        return self.thumbnails[int(path.rpartition("/")[2].partition(".")[0]) % 2]

    def compose(self) -> ComposeResult:
        yield self.grid

    def on_mount(self) -> None:
        self.grid.focus()

    async def on_event(self, event: Any) -> None:
        await super().on_event(event)

    def on_image_grid_moved(self, message: ImageGrid.Moved) -> None:
        self.heard.append(("moved", message.key))

    def on_image_grid_chosen(self, message: ImageGrid.Chosen) -> None:
        self.heard.append(("chosen", message.key))

    @property
    def bytes(self) -> int:
        driver: Any = self._driver
        return int(driver.text_bytes + driver.picture_bytes)

    async def settle(self) -> None:
        """Until every visible tile is drawn."""
        for _ in range(5000):
            await asyncio.sleep(0.02)
            tiles = [tile for tile in self.query(Tile) if tile.visible and tile._item is not None and tile._item.picture is not None]
            if tiles and all(tile.view.drawn == self.pictures.backend or tile.view._words for tile in tiles):
                await asyncio.sleep(0.1)
                return
        raise AssertionError([(tile.view.drawn, tile.view._words) for tile in tiles])


def items(number: int) -> list[GridItem]:
    return [GridItem(f"k{index}", Picture("toy", f"dataset/{index}.png", 512, 512), f"caption {index}", "keep") for index in range(number)]


@pytest.fixture(autouse=True)
def truecolour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


@in_loop
async def test_ten_thousand_pictures_are_a_page() -> None:
    terminal = FakeTerminal(63, 24)
    many = items(10_000)
    app = Wall(terminal, many, "half")
    async with app.run_test(headless=False) as pilot:
        await app.settle()
        assert app.grid.page_size == 6
        assert len(app.query(Tile)) == 6
        assert len(app.asked) == 6
        assert "page 1 of 1667 · 1 to 6 of 10,000" in terminal.text
        await pilot.press("G")
        await app.settle()
        assert app.grid.current == many[-1]
        assert "9,997 to 10,000 of 10,000" in terminal.text
        assert len(app.asked) <= 12
        begun = time.perf_counter()
        app.grid.items = items(10_000)
        assert time.perf_counter() - begun < 60
        assert app.grid.current is not None
        assert app.grid.current.key == "k9999"


@in_loop
async def test_the_cursor_walks_and_tells() -> None:
    app = Wall(FakeTerminal(63, 24), items(20), "half")
    async with app.run_test(headless=False) as pilot:
        await app.settle()
        for key, at in (("right", 1), ("l", 2), ("down", 5), ("j", 8), ("up", 5), ("k", 2), ("left", 1), ("h", 0), ("left", 0)):
            await pilot.press(key)
            assert app.grid.cursor == at, key
        for key, at in (("pagedown", 6), ("ctrl+d", 12), ("pageup", 6), ("end", 19), ("down", 19), ("home", 0), ("up", 0)):
            await pilot.press(key)
            assert app.grid.cursor == at, key
        await pilot.press("right", "enter")
        assert app.heard[-2:] == [("moved", "k1"), ("chosen", "k1")]
        assert app.grid.go_to("k13")
        assert app.grid.page == 2
        assert not app.grid.go_to("nobody")


@in_loop
async def test_moving_the_cursor_writes_two_captions() -> None:
    app = Wall(FakeTerminal(63, 24), items(6))
    async with app.run_test(headless=False) as pilot:
        await app.settle()
        before = app.bytes
        await pilot.press("right")
        await pilot.pause(0.1)
        assert 0 < app.bytes - before < 1000


@in_loop
async def test_the_first_page_over_ssh_keeps_to_its_budget() -> None:
    terminal = FakeTerminal(63, 24)
    app = Wall(terminal, items(6), over_ssh=True)
    async with app.run_test(headless=False):
        await app.settle()
        assert len(terminal.images) == 6
        assert app.bytes <= 120_000
        assert difference(terminal.picture(0, 0, 20, 10), busy(512).resize((200, 200), Image.Resampling.LANCZOS)) < 20


@in_loop
async def test_pages_and_back_send_nothing_twice() -> None:
    terminal = FakeTerminal(63, 24)
    app = Wall(terminal, items(12))
    async with app.run_test(headless=False) as pilot:
        await app.settle()
        await pilot.press("pagedown")
        await app.settle()
        sent, asked = len(terminal.images), len(app.asked)
        before = app.bytes
        await pilot.press("pageup")
        await app.settle()
        assert (len(terminal.images), len(app.asked)) == (sent, asked) == (12, 12)
        assert app.bytes - before <= 25_000


@in_loop
async def test_marks_change_and_the_cursor_stays_on_its_picture() -> None:
    terminal = FakeTerminal(63, 24)
    app = Wall(terminal, items(12))
    async with app.run_test(headless=False) as pilot:
        await app.settle()
        await pilot.press("right", "right")
        before, asked = app.bytes, len(app.asked)
        app.grid.items = [GridItem(item.key, item.picture, item.caption, "reject") for item in items(12)]
        await pilot.pause(0.2)
        assert "reject · caption 0" in terminal.text
        assert "> reject · caption 2" in terminal.text
        assert app.bytes - before < 4000
        assert len(app.asked) == asked
        app.grid.items = [item for item in app.grid.items if item.key != "k0"]
        assert app.grid.current is not None
        assert app.grid.current.key == "k2"
        app.grid.items = []
        await pilot.pause(0.1)
        assert "no pictures" in terminal.text
        assert app.heard[-1] == ("moved", None)
        await pilot.press("down", "enter", "pagedown", "G")
        assert app.grid.current is None


@in_loop
async def test_previews_stand_where_a_picture_is_still_to_come() -> None:
    terminal = FakeTerminal(63, 24)
    app = Wall(terminal, [GridItem("new", None, "painting"), *items(3)])
    async with app.run_test(headless=False) as pilot:
        await app.settle()
        app.grid.preview("new", Image.new("RGB", (64, 64), (200, 40, 40)))
        await pilot.pause(0.5)
        assert terminal.picture(5, 4, 1, 1).getpixel((5, 5)) == (200, 40, 40)
        app.grid.items = items(4)
        await app.settle()
        assert terminal.picture(5, 4, 1, 1).getpixel((5, 5)) != (200, 40, 40)


@in_loop
async def test_a_resize_makes_other_pages() -> None:
    app = Wall(FakeTerminal(120, 40), items(40), "half")
    async with app.run_test(headless=False) as pilot:
        await app.settle()
        assert app.grid.page_size == 15
        app.grid.cursor = 20
        app.grid.styles.width, app.grid.styles.height = 43, 24
        await pilot.pause(0.3)
        await app.settle()
        assert app.grid.page_size == 4
        assert app.grid.page == 5
        app.grid.styles.width, app.grid.styles.height = 5, 3
        await pilot.pause(0.3)
        assert app.grid.page_size == 1


def test_captions_are_signs_and_harmless() -> None:
    item = GridItem("k", None, "evil \x1b[2J[red]text[/]\nsecond", "keep")
    assert caption(item, at_cursor=True).plain == "> keep · evil [red]text[/] second"
    assert caption(GridItem("k", None), at_cursor=False).plain == "  "


def test_messages_name_their_grid() -> None:
    grid = ImageGrid()
    assert isinstance(ImageGrid.Moved(grid, "k"), Message)
    assert ImageGrid.Chosen(grid, "k").control is grid
