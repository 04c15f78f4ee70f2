"""What textual-image and textual-plotext do with the same pictures and points, for `terminal.py`: run by a Python that has both.

`picture FOLDER`: keys a and d show a picture, r refreshes it, m opens and closes a dialog over it, s scrolls by 20 rows, c counts.
`charts`: four charts of 10,000 points at 4 Hz, two lines of numbers at 2 Hz. `probe`: what textual-image chose, and what it left.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

NUM_POINTS = 10_000


def pictures(folder: Path) -> None:
    from PIL import Image
    from textual.app import App, ComposeResult
    from textual.containers import VerticalScroll
    from textual.screen import ModalScreen
    from textual.widgets import Label, Static
    from textual_image.widget import TGPImage  # type: ignore[import-not-found]

    class Dialog(ModalScreen[None]):
        BINDINGS = [("m", "dismiss", "close")]  # noqa: RUF012

        def compose(self) -> ComposeResult:
            yield Label("Delete this picture? y/n")

    class Rival(App[None]):
        CSS = (
            "#picture { width: 60; height: 30; } #line { height: 1; dock: bottom; } #tall { height: 60; } Dialog { align: center middle; }"
        )
        BINDINGS = [("r", "again"), ("m", "ask"), ("s", "scroll"), ("c", "count"), ("a", "show('a')"), ("d", "show('d')")]  # noqa: RUF012
        number = 0

        def compose(self) -> ComposeResult:
            with VerticalScroll(id="area"):
                yield TGPImage(id="picture")
                yield Static("\n".join(f"text {number}" for number in range(60)), id="tall")
            yield Static("line", id="line")

        def on_mount(self) -> None:
            self.found = {name: Image.open(folder / f"{name}.png").convert("RGB") for name in "ad"}

        def action_show(self, name: str) -> None:
            picture: Any = self.query_one("#picture")
            picture.image = self.found[name]

        def action_again(self) -> None:
            self.query_one("#picture").refresh()

        def action_ask(self) -> None:
            self.push_screen(Dialog())

        def action_scroll(self) -> None:
            self.query_one("#area").scroll_to(y=20, animate=False)

        def action_count(self) -> None:
            self.number += 1
            self.query_one("#line", Static).update(f"pressed {self.number} times, and this is what the line says")

    Rival().run()


def charts() -> None:
    from textual.app import App, ComposeResult
    from textual.widgets import Static
    from textual_plotext import PlotextPlot  # type: ignore[import-not-found]

    class Rival(App[None]):
        CSS = "Screen { layout: grid; grid-size: 2 3; grid-rows: 1fr 1fr 2; }"
        step = NUM_POINTS

        def compose(self) -> ComposeResult:
            for _ in range(4):
                yield PlotextPlot()
            yield Static(id="one")
            yield Static(id="two")

        def on_mount(self) -> None:
            self.curves = [self.points(scale, 1, NUM_POINTS) for scale in range(1, 5)]
            self.set_interval(0.25, self.draw)
            self.set_interval(0.5, self.tell)

        def points(self, scale: int, first: int, count: int) -> list[float]:
            return [scale / (1 + step / 900) * (1 + (step * 7919 % 97) / 300) for step in range(first, first + count)]

        def draw(self) -> None:
            for scale, plot in enumerate(self.query(PlotextPlot), 1):
                self.curves[scale - 1] += self.points(scale, self.step + 1, 5)
                plot.plt.clear_data()
                plot.plt.plot(self.curves[scale - 1])
                plot.refresh()
            self.step += 5

        def tell(self) -> None:
            for name in ("one", "two"):
                self.query_one(f"#{name}", Static).update(f"step {self.step} of 100000, {19.8 + self.step % 3 / 10:.1f} it/s")

    Rival().run()


def probe() -> None:
    import os
    import select
    import termios
    import tty

    import textual_image.renderable  # type: ignore[import-not-found]

    before = termios.tcgetattr(0)
    tty.setraw(0)
    left = b""
    while select.select([0], [], [], 0.6)[0]:
        left += os.read(0, 4096)
    termios.tcsetattr(0, termios.TCSANOW, before)
    print(f"\nCHOSE {textual_image.renderable.Image.__module__.rpartition('.')[2]} LEFT {len(left)} END", flush=True)


if __name__ == "__main__":
    {"picture": lambda: pictures(Path(sys.argv[2])), "charts": charts, "probe": probe}[sys.argv[1]]()
