"""Pixels on a pty, as a person would see them: pictures live through what happens to a terminal. Real daemon, fake kitty, real tmux."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fake_terminal import difference
from tests.gallery import hang
from tests.pty_terminal import NEGTUI, PtyTerminal

NEAR = 6.0
"""Mean difference of a channel, of 255, up to which two pictures are one: a thumbnail, scaled twice."""
TMUX_CONF = """
set -g default-terminal tmux-256color
set -g allow-passthrough on
set -g focus-events on
set -ga terminal-features ',*:RGB'
set -g status off
"""


def boxes(terminal: PtyTerminal) -> list[tuple[int, int, int, int]]:
    """Where placeholders stand: left, top, columns, rows of each picture, in reading order."""
    found: dict[tuple[int, int], list[int]] = {}
    for y, line in enumerate(terminal.text.splitlines()):
        for run in re.finditer("#{4,}", line):
            found.setdefault(run.span(), []).append(y)
    return sorted(((left, rows[0], right - left, len(rows)) for (left, right), rows in found.items()), key=lambda box: (box[1], box[0]))


def are_shown(terminal: PtyTerminal, pictures: Sequence[Image.Image]) -> bool:
    """Whether the pixels of these pictures, and of no others, are on the screen."""
    places = boxes(terminal)
    if len(places) != len(pictures):
        return False
    return all(
        difference(shown := terminal.picture(*place), wanted.resize(shown.size)) < NEAR
        for place, wanted in zip(places, pictures, strict=True)
    )


def num_sent(terminal: PtyTerminal) -> int:
    return bytes(terminal.received).count(b"a=t,")


@pytest.fixture
def photos(front: Any) -> list[Image.Image]:
    """Two pictures in the session `fake` of a running daemon; it plans another one."""
    folder = front.places.sessions_path / "fake"
    (folder / "session.toml").write_text('[model]\nbase = "toy"\n[synthesis]\nkeywords = ["fake"]\n')
    return hang(folder, 2)


def open_dataset(terminal: PtyTerminal, photos: Sequence[Image.Image]) -> None:
    terminal.wait_for("1 Sessions")
    terminal.wait_for("connected")
    terminal.press("2")
    terminal.wait_for(lambda: are_shown(terminal, photos))


def test_pictures_survive_what_happens_on_the_screen(front: Any, photos: list[Image.Image]) -> None:
    def still_there() -> bool:
        return are_shown(terminal, photos)

    with closing(PtyTerminal([*NEGTUI, "--workspace", str(front.places.workspace)])) as terminal:
        open_dataset(terminal, photos)
        assert num_sent(terminal) == 2

        terminal.wait_until_still()
        before = terminal.window.num_bytes
        terminal.press("r")
        terminal.wait_for("y: yes")
        terminal.wait_for(still_there)
        terminal.press("n")
        terminal.wait_for("y: yes", gone=True)
        terminal.wait_for(still_there)
        assert terminal.window.num_bytes - before <= 3000

        terminal.press("?")
        terminal.wait_for("(here)")
        terminal.press("escape")
        terminal.wait_for(still_there)
        terminal.press("5")
        terminal.wait_for("[5 Jobs]")
        terminal.press("2")
        terminal.wait_for(still_there)
        assert num_sent(terminal) == 2

        terminal.window.lose_pictures()
        assert not still_there()
        terminal.press("ctrl+l")
        terminal.wait_for(still_there)
        assert num_sent(terminal) == 4

        for size in ((100, 40), (80, 24)):
            terminal.resize(*size)
            terminal.wait_for(still_there)


def test_pictures_are_back_after_the_shell_had_the_terminal(front: Any, photos: list[Image.Image]) -> None:
    with closing(PtyTerminal(["bash", "--norc", "-i"], {"PS1": "shell> "})) as terminal:
        terminal.wait_for("shell>")
        terminal.press(" ".join([*NEGTUI, "--workspace", str(front.places.workspace)]), "enter")
        open_dataset(terminal, photos)
        terminal.press("ctrl+z")
        terminal.wait_for("Stopped")
        assert not terminal.window.images
        terminal.press("fg", "enter")
        terminal.wait_for(lambda: are_shown(terminal, photos))
        terminal.press("q")
        terminal.wait_for("The daemon and its jobs go on")
        assert not terminal.window.images


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here: apt-get install tmux")
def test_pictures_survive_detaching_from_tmux_and_attaching_elsewhere(front: Any, photos: list[Image.Image], tmp_path: Path) -> None:
    (tmp_path / "tmux.conf").write_text(TMUX_CONF)
    tmux = ["tmux", "-L", f"negtui-{secrets.token_hex(4)}", "-f", str(tmp_path / "tmux.conf")]
    try:
        with closing(PtyTerminal([*tmux, "new-session", *NEGTUI, "--workspace", str(front.places.workspace)])) as terminal:
            open_dataset(terminal, photos)
            terminal.press("ctrl+b", "d")
            terminal.wait_for("detached")
        with closing(PtyTerminal([*tmux, "attach"])) as terminal:
            terminal.wait_for("2 pictures")
            terminal.wait_for(lambda: are_shown(terminal, photos))
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
