"""The driver in a real pty: an app in a process of its own, a terminal that answers."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
APP = """
import io, os, sys
from PIL import Image
from negtui.pixels.choose import prepare
choice, answers = prepare()
from textual.app import App
from negtui.pixels.driver import PictureDriver
from negtui.pixels.pictures import Pictures
from negtui.widgets.image_view import ImageView
from tests.sample_pictures import busy

class Small(App):
    keys = ""
    def __init__(self):
        super().__init__(driver_class=PictureDriver)
        self.pictures = Pictures(None, choice)
    def compose(self):
        yield ImageView()
    def on_mount(self):
        self.query_one(ImageView).show(busy(512), "busy")
    def on_key(self, event):
        self.keys += event.character or event.key
        if event.key == "q":
            self.exit()

app = Small()
app.run()
print("BACKEND", choice.backend, "KEYS", app.keys)
"""


def test_pictures_go_out_and_no_answer_is_read_as_a_key() -> None:
    import pty
    import struct
    from fcntl import ioctl
    from termios import TIOCSWINSZ

    side, descriptor = pty.openpty()
    ioctl(descriptor, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 800, 480))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "TMUX", "STY", "TERM_PROGRAM")
    }
    environment |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(
        [sys.executable, "-c", APP], stdin=descriptor, stdout=descriptor, stderr=descriptor, env=environment, cwd=ROOT
    )
    os.close(descriptor)
    seen, at = bytearray(), 0
    answers = {
        b"\x1b_Gi=31": b"\x1b_Gi=31;OK\x1b\\",
        b"\x1b[16t": b"\x1b[6;20;10t",
        b"\x1b[>0q": b"\x1bP>|kitty(0.41.1)\x1b\\",
        b"\x1b[c": b"\x1b[?62c",
    }
    pattern = re.compile(b"|".join(re.escape(question) for question in answers) + rb"|\x1b\[2;(\d+)H\x1b\[6n")
    deadline = time.monotonic() + 60
    pressed = 0
    while time.monotonic() < deadline:
        if select.select([side], [], [], 0.05)[0]:
            try:
                content = os.read(side, 65_536)
            except OSError:
                break
            seen += content
            for match in pattern.finditer(bytes(seen), at):
                at = match.end()
                os.write(side, answers.get(match[0]) or b"\x1b[2;%bR" % match[1])
        elif "\U0010eeee".encode() in seen and pressed < 2:
            os.write(side, b"xq"[pressed : pressed + 1])
            pressed += 1
    assert running.wait(10) == 0
    os.close(side)
    assert b"BACKEND kitty KEYS xq" in seen
    assert seen.count(b"\x1b[6n") > 3
    assert b"a=p,U=1" in seen
    assert seen.index(b"a=d,d=I") < seen.index(b"\x1b[?1049l")
