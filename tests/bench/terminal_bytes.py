"""The bytes that pictures cost on a terminal, beside their budgets (shared design, section 4): `python tests/bench/terminal_bytes.py`.

Real widgets, a terminal made of Pillow, the same pictures every time; times are of this machine and only printed. With textual-image
installed, its own figures for the same pictures stand beside ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ["COLORTERM"] = "truecolor"
os.environ.setdefault("TERM", "xterm-256color")
os.environ.pop("NO_COLOR", None)
os.environ["TEXTUAL_ANIMATIONS"] = "none"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from PIL import Image
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
    what: str
    num_bytes: int
    budget: int | None
    seconds: float


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
        for _ in range(1000):
            await asyncio.sleep(0.02)
            views = [view for view in self.query(ImageView) if view.picture is not None and view.visible]
            if views and all(view.drawn == self.pictures.backend for view in views):
                await asyncio.sleep(0.1)
                return
        raise SystemExit("a picture never came")


def picture(name: str) -> Picture:
    return Picture("toy", f"dataset/{name}.png", 1024, 1024)


async def measure(rows: list[Row], what: str, stage: Stage, budget: int | None, act: Callable[[], Any]) -> None:
    """The bytes from `act` until all is drawn."""
    before, begun = stage.bytes, time.perf_counter()
    done = act()
    if asyncio.iscoroutine(done):
        await done
    await asyncio.sleep(0.05)
    await stage.settle()
    rows.append(Row(what, stage.bytes - before, budget, time.perf_counter() - begun))


async def one_picture(rows: list[Row], backend: Backend, budgets: dict[str, int]) -> None:
    view = ImageView(classes="picture")
    stage = Stage(backend, lambda: view)
    async with stage.run_test(headless=False):
        for name in ("a", "d"):
            await measure(
                rows,
                f"{backend}: first send of one 60x30-cell picture over SSH ({name})",
                stage,
                budgets.get(name),
                lambda name=name: setattr(view, "picture", picture(name)),
            )
        await measure(
            rows,
            f"{backend}: return to a picture shown before",
            stage,
            budgets.get("again"),
            lambda: setattr(view, "picture", picture("a")),
        )
        await measure(rows, f"{backend}: re-render", stage, budgets.get("again"), view.refresh)
        line = stage.query_one("#line", Static)
        await measure(rows, f"{backend}: a question on a line below, asked and answered", stage, 3000, lambda: ask(line))
        await measure(rows, f"{backend}: idle for a second", stage, 0, lambda: asyncio.sleep(1.0))


async def ask(line: Static) -> None:
    line.update("Delete this picture? y/n", layout=False)
    await asyncio.sleep(0.05)
    line.update("line", layout=False)


async def grid(rows: list[Row], backend: Backend, budget: int | None) -> None:
    items = [GridItem(index, picture("ad"[index % 2]), f"caption {index}") for index in range(6)]
    made = ImageGrid()
    stage = Stage(backend, lambda: made, columns=63, rows=24)
    async with stage.run_test(headless=False):
        await measure(
            rows, f"{backend}: 2x3 grid of 20x10-cell thumbnails, first paint", stage, budget, lambda: setattr(made, "items", items)
        )


async def scroll(rows: list[Row], backend: Backend, budget: int) -> None:
    view = ImageView(picture("a"), classes="picture")
    area = VerticalScroll(view, Static("\n".join(f"text {number}" for number in range(60)), id="tall"))
    stage = Stage(backend, lambda: area, columns=80, rows=41)
    async with stage.run_test(headless=False):
        await stage.settle()
        await measure(
            rows, f"{backend}: scroll by 20 rows with a picture on the screen", stage, budget, lambda: area.scroll_to(y=20, animate=False)
        )


def textual_image_rows() -> list[Row]:
    """What textual-image's own encoder makes of the same pictures, if it is here."""
    try:
        from textual_image._sixel import image_to_sixels  # type: ignore[import-not-found]
    except ImportError:
        return []
    rows = []
    for name, image in (("a", busy()), ("d", typical())):
        begun = time.perf_counter()
        content = image_to_sixels(image.resize((600, 600), Image.Resampling.LANCZOS))
        rows.append(Row(f"textual-image: sixel of one 60x30-cell picture ({name})", len(content), None, time.perf_counter() - begun))
    return rows


async def all_rows() -> list[Row]:
    rows: list[Row] = []
    await one_picture(rows, "kitty", {"a": 360_000, "d": 150_000, "again": 16_000})
    await grid(rows, "kitty", 120_000)
    await scroll(rows, "kitty", 25_000)
    await one_picture(rows, "sixel", {})
    await grid(rows, "sixel", None)
    await one_picture(rows, "half", {})
    await grid(rows, "half", 120_000)
    await scroll(rows, "half", 80_000)
    return rows + textual_image_rows()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = asyncio.run(all_rows())
    if arguments.json:
        print(json.dumps([row._asdict() for row in rows]))
    else:
        print(f"{'what':<76} {'bytes':>9} {'budget':>9} {'seconds':>8}")
        for row in rows:
            verdict = "" if row.budget is None or row.num_bytes <= row.budget else "  over"
            budget = "" if row.budget is None else f"{row.budget:,}"
            print(f"{row.what:<76} {row.num_bytes:>9,} {budget:>9} {row.seconds:>8.2f}{verdict}")
    return int(any(row.budget is not None and row.num_bytes > row.budget for row in rows))


if __name__ == "__main__":
    sys.exit(main())
