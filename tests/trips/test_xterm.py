"""Sixel in a real xterm under Xvfb: the pixels of a screenshot are those of the pictures."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.gallery import hang
from tests.pty_terminal import LEFT_OUT, NEGTUI, ROOT

TOOLS = ("xterm", "Xvfb", "xdotool", "import")
NEAR = 14.0
"""Mean difference of a channel, of 255, up to which it is the picture: in 256 colours, from a thumbnail, scaled twice."""
SECONDS = 90.0
MANY = 1000
"""Colours: more than text has, fewer than a picture."""
WIDTH, HEIGHT = 900, 720
"""Pixels of the screen's part in which the picture stands."""
MARGIN = (18, 18, 18)
PANEL = (36, 47, 56)
"""Colours of the theme: beside the picture, and of the first line."""
XTERM = (
    "xterm", "-ti", "vt340", "-fa", "DejaVu Sans Mono", "-fs", "11", "-geometry", "100x40+0+0", "-xrm", "XTerm*numColorRegisters: 256",
    "-xrm", "XTerm*maxGraphicSize: 2000x2000", "-tn", "xterm-256color", "-e",
)  # fmt: skip

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        not all(map(shutil.which, TOOLS)), reason="no xterm under Xvfb here: apt-get install xterm xvfb xdotool imagemagick"
    ),
]


class Display:
    """An X server of its own; `shot` is what stands on it."""

    def __init__(self, folder: Path) -> None:
        read, write = os.pipe()
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "1200x900x24", "-nolisten", "tcp"],
            pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        with os.fdopen(read) as told:
            self.environment = {**os.environ, "DISPLAY": f":{told.readline().strip()}"}
        self._path = folder / "shot.png"

    def shot(self) -> Image.Image:
        subprocess.run(["import", "-window", "root", self._path], env=self.environment, check=True, capture_output=True)
        with Image.open(self._path) as opened:
            return opened.convert("RGB")

    def press(self, key: str) -> None:
        subprocess.run(["xdotool", "key", key], env=self.environment, check=True, capture_output=True)

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()


@pytest.fixture
def display(tmp_path: Path) -> Iterator[Display]:
    made = Display(tmp_path)
    yield made
    made.close()


def distance(first: Image.Image, second: Image.Image) -> float:
    """Mean difference of a channel, of 255."""
    means: list[float] = ImageStat.Stat(ImageChops.difference(first, second)).mean
    return sum(means) / len(means)


def best_place(shot: Image.Image, picture: Image.Image) -> tuple[float, tuple[int, int], int]:
    """How near the screenshot comes to the square picture between its margins: distance, corner, side."""
    row = [shot.getpixel((x, HEIGHT // 2)) for x in range(WIDTH)]
    inside = [x for x in range(20, WIDTH - 20) if row[x] != MARGIN]
    if len(inside) < 100:
        return 255.0, (0, 0), 1
    left, side = inside[0], inside[-1] - inside[0] + 1
    wanted = picture.resize((side, side), Image.Resampling.LANCZOS)
    tops = range(20, 80)
    return min((distance(shot.crop((left, top, left + side, top + side)), wanted), (left, top), side) for top in tops)


def num_colours(shot: Image.Image) -> int:
    return len(shot.getcolors(WIDTH * HEIGHT) or ())


def test_sixel_pixels_stand_on_a_real_xterm(front: Any, display: Display, tmp_path: Path) -> None:
    picture = hang(front.places.sessions_path / "fake", 1, side=1024, roughness=1.2)[0]
    environment = {name: value for name, value in display.environment.items() if name not in LEFT_OUT}
    command = ["env", "COLORTERM=truecolor", f"PYTHONPATH={ROOT}", *NEGTUI, "--workspace", str(front.places.workspace)]
    xterm = subprocess.Popen([*XTERM, *command], env=environment)
    try:
        until(lambda: display.shot().getpixel((WIDTH // 2, 12)) == PANEL)
        time.sleep(1)
        display.press("2")
        until(lambda: num_colours(display.shot()) > MANY)
        display.press("f")
        until(lambda: best_place(display.shot(), picture)[0] < NEAR)
        _, (left, top), side = best_place(display.shot(), picture)
        wanted = picture.resize((side, side), Image.Resampling.LANCZOS)
        blocks = wanted.resize((side // 9, side // 9), Image.Resampling.BOX).resize((side, side), Image.Resampling.NEAREST)
        assert distance(blocks, wanted) > 1.3 * NEAR, "half-blocks would do as well: it proves nothing"
        display.press("ctrl+l")
        until(lambda: distance(display.shot().crop((left, top, left + side, top + side)), wanted) < NEAR)
        display.press("question")
        time.sleep(2)
        display.press("Escape")
        until(lambda: distance(display.shot().crop((left, top, left + side, top + side)), wanted) < NEAR)
    finally:
        if kept := os.environ.get("KEEP_SHOT"):
            display.shot().save(kept)
        xterm.terminate()
        xterm.wait()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it never came; KEEP_SHOT=FILE keeps what was seen"
        time.sleep(0.5)
