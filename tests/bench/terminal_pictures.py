"""The bytes that pictures cost on a terminal: real widgets, a terminal made of Pillow, the same pictures every time."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ["COLORTERM"] = "truecolor"
os.environ.setdefault("TERM", "xterm-256color")
os.environ.pop("NO_COLOR", None)
os.environ["TEXTUAL_ANIMATIONS"] = "none"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from negtui.pixels.base import Backend, Choice
from negtui.pixels.pictures import Pictures
from negtui.widgets.image_grid import GridItem, ImageGrid
from negtui.widgets.image_view import ImageView, Picture
from tests.fake_terminal import FakeTerminal, WindowDriver
from tests.sample_pictures import busy, typical, webp


class Row(NamedTuple):
    """`num_bytes` from the act until all is drawn."""

    backend: Backend
    what: str
    num_bytes: int


class Stage(App[None]):
    """A picture, or a grid, with a line below it."""

    CSS = "#line { height: 1; } #tall { height: 60; } .picture { width: 60; height: 30; }"

    def __init__(self, backend: Backend, body: Callable[[], Any], *, over_ssh: bool = True, columns: int = 80, rows: int = 31) -> None:
        super().__init__()
        self.terminal = FakeTerminal(columns, rows)
        self.driver_class = WindowDriver.of(self.terminal)
        self.body = body
        self.files = {"a": busy(), "d": typical()}
        self.pictures = Pictures(self.fetch, Choice(backend=backend, available=(backend, "half", "off"), over_ssh=over_ssh))

    async def fetch(self, session: str, path: str) -> bytes:
        pixels = int(path.split("/")[2]) if ".thumbnails" in path else 1024
        return webp(self.files[path.rpartition("/")[2][0]], pixels)

    def compose(self) -> ComposeResult:
        yield self.body()
        yield Static("line", id="line")

    @property
    def bytes(self) -> int:
        driver: Any = self._driver
        return int(driver.text_bytes + driver.picture_bytes)

    async def settle(self) -> None:
        for _ in range(6000):
            await asyncio.sleep(0.02)
            views = [view for view in self.query(ImageView) if view.picture is not None and view.visible]
            if views and all(view.drawn == self.pictures.backend for view in views):
                await asyncio.sleep(0.1)
                return
        raise SystemExit(f"a picture never came: {[(view.picture, view.drawn) for view in views]}")


def picture(name: str) -> Picture:
    return Picture("toy", f"dataset/{name}.png", 1024, 1024)


async def measure(rows: list[Row], what: str, stage: Stage, act: Callable[[], Any]) -> None:
    """The bytes from `act` until all is drawn."""
    before = stage.bytes
    done = act()
    if asyncio.iscoroutine(done):
        await done
    await asyncio.sleep(0.05)
    await stage.settle()
    rows.append(Row(stage.pictures.backend, what, stage.bytes - before))


async def one_picture(rows: list[Row], backend: Backend) -> None:
    view = ImageView(classes="picture")
    stage = Stage(backend, lambda: view)
    async with stage.run_test(headless=False):
        for name in ("a", "d"):
            await measure(rows, f"first {name}", stage, lambda name=name: setattr(view, "picture", picture(name)))
        await measure(rows, "return", stage, lambda: setattr(view, "picture", picture("a")))
        await measure(rows, "again", stage, view.refresh)
        line = stage.query_one("#line", Static)
        await measure(rows, "confirm", stage, lambda: ask(line))


async def ask(line: Static) -> None:
    line.update("Delete this picture? y/n", layout=False)
    await asyncio.sleep(0.05)
    line.update("line", layout=False)


async def grid(rows: list[Row], backend: Backend) -> None:
    items = [GridItem(index, picture("ad"[index % 2]), f"caption {index}") for index in range(6)]
    made = ImageGrid()
    stage = Stage(backend, lambda: made, columns=63, rows=24)
    async with stage.run_test(headless=False):
        await measure(rows, "grid", stage, lambda: setattr(made, "items", items))


async def scroll(rows: list[Row], backend: Backend) -> None:
    view = ImageView(picture("a"), classes="picture")
    area = VerticalScroll(view, Static("\n".join(f"text {number}" for number in range(60)), id="tall"))
    stage = Stage(backend, lambda: area, columns=80, rows=41)
    async with stage.run_test(headless=False):
        await stage.settle()
        await measure(rows, "scroll", stage, lambda: area.scroll_to(y=20, animate=False))


async def picture_rows() -> list[Row]:
    """`first a`, `first d`, `return`, `again`, `confirm`, `grid`, `scroll`, by backend."""
    rows: list[Row] = []
    for backend in ("kitty", "sixel", "half"):
        await one_picture(rows, backend)
        await grid(rows, backend)
        if backend != "sixel":  # a sixel picture that is cut by the edge stays half-blocks
            await scroll(rows, backend)
    return rows
