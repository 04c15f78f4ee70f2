"""A program on a real pty, and the terminal around it: pyte keeps the letters, `FakeTerminal` the pixels, and questions are answered.

Waiting is by what the screen shows, never by the clock.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyte
from PIL import Image

from negtui.pixels.kitty import MARKS, PLACEHOLDER
from tests.fake_terminal import RGB, TOKEN, Cell, FakeTerminal

ROOT = Path(__file__).resolve().parents[1]
NEGTUI = (sys.executable, "-m", "negtui.cli")
KEYS = {
    "enter": b"\r", "escape": b"\x1b", "tab": b"\t", "shift+tab": b"\x1b[Z", "space": b" ", "backspace": b"\x7f",
    "up": b"\x1b[A", "down": b"\x1b[B", "right": b"\x1b[C", "left": b"\x1b[D", "home": b"\x1b[H", "end": b"\x1b[F",
    "pageup": b"\x1b[5~", "pagedown": b"\x1b[6~", "f2": b"\x1bOQ", "f5": b"\x1b[15~",
    **{f"ctrl+{letter}": bytes([ord(letter) - 96]) for letter in "abcdefgklnopqrsuvwxyz"},
}  # fmt: skip
UNFINISHED = re.compile(rb"\x1b(?:\Z|\[[0-?]*[ -/]*\Z|\][^\x07\x1b]*\x1b?\Z|[(]\Z)", re.DOTALL)
PICTURE_CELL = re.compile(f"{PLACEHOLDER}[{''.join(MARKS)}]*")
LEFT_OUT = {"COLUMNS", "LINES", "NO_COLOR", "TMUX", "TMUX_PANE", "STY", "TERM_PROGRAM", "COLORTERM", "SSH_CONNECTION", "SSH_TTY"}
SLICE_SECONDS = 0.01
IDLE_SECONDS = 0.2
BASIC: dict[str, RGB] = {
    "black": (0, 0, 0), "red": (205, 0, 0), "green": (0, 205, 0), "brown": (205, 205, 0), "blue": (0, 0, 238),
    "magenta": (205, 0, 205), "cyan": (0, 205, 205), "white": (229, 229, 229),
}  # fmt: skip


class Window(FakeTerminal):
    """Takes bytes cut anywhere. `kind`: kitty, xterm (sixel) or plain; what was answered stands in `answers` until it is sent."""

    kind: str = "kitty"

    def __post_init__(self) -> None:
        self.graphics = self.kind != "plain"
        self.canvas = Image.new("RGBA", (self.columns * self.cell[0], self.rows * self.cell[1]))
        self.screen: Any = pyte.Screen(self.columns, self.rows)
        self._stream: Any = pyte.Stream(self.screen)
        self._stream.use_utf8 = True
        self._loading = None
        self._rest = b""

    @property
    def text(self) -> str:
        """The letters; a cell of a picture is a `#`."""
        return "\n".join(PICTURE_CELL.sub("#", line).rstrip() for line in self.screen.display)

    @property
    def cells(self) -> list[list[Cell]]:
        lines = (self.screen.buffer[y] for y in range(self.rows))
        return [[_cell(line[x]) for x in range(self.columns)] for line in lines]

    def feed(self, content: bytes) -> None:
        content = self._rest + content
        end = _num_whole(content)
        self._rest = content[end:]
        before = self.num_bytes
        super().feed(content[:end])
        self.num_bytes = before + end

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.screen.resize(rows, columns)
        self.canvas = Image.new("RGBA", (columns * self.cell[0], rows * self.cell[1]))

    def _text(self, text: str) -> None:
        self._stream.feed(text)

    def _escape(self, kind: str) -> None:
        self._stream.feed(f"\x1b{kind}")

    def _csi(self, sequence: str) -> None:
        kind, body = sequence[-1], sequence[:-1]
        answer = {
            "6n": b"\x1b[%d;%dR" % (self.screen.cursor.y + 1, self.screen.cursor.x + 1),
            "16t": b"\x1b[6;%d;%dt" % (self.cell[1], self.cell[0]),
            ">0q": {"kitty": b"\x1bP>|kitty(0.41.1)\x1b\\", "xterm": b"\x1bP>|XTerm(379)\x1b\\"}.get(self.kind),
            "c": {"kitty": b"\x1b[?62;52;c", "xterm": b"\x1b[?63;1;4;22c"}.get(self.kind, b"\x1b[?1;2c"),
            "?1;1;0S": b"\x1b[?1;0;256S" if self.kind == "xterm" else None,
        }.get("c" if sequence == "0c" else ">0q" if sequence == ">q" else sequence)
        if answer is not None:
            self.answers.append(answer)
        elif not re.search(r"[<=>!-/]", body) and kind not in "nctqSu":
            self._stream.feed(f"\x1b[{sequence}")

    def _kitty(self, command: bytes) -> None:
        if b"a=q" in command:
            if self.kind == "kitty":
                self.answers.append(b"\x1b_Gi=%s;OK\x1b\\" % re.findall(rb"i=(\d+)", command)[0])
            return
        super()._kitty(command)


class PtyProgram:
    """`argv` on a pty, from its making until `close` (`contextlib.closing`), `round_trip` seconds away.

    What it writes is kept in `received`; subclasses look at it and answer what it asks.
    """

    cell = (10, 20)
    """Pixels of a cell, as the pty tells them."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        columns: int = 80,
        rows: int = 24,
        round_trip: float = 0.0,
    ) -> None:
        self.argv, self.round_trip = argv, round_trip
        self.rate: float | None = None
        """Bytes a second that are taken; None: as fast as they come."""
        self.received = bytearray()
        self.lock = threading.Condition()
        """Held while something is taken; told whenever something was."""
        self._side, descriptor = pty.openpty()
        self._set_size(columns, rows)
        own = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        own |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), **(environment or {})}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            argv, stdin=descriptor, stdout=descriptor, stderr=descriptor, env=own, start_new_session=True, preexec_fn=_take_terminal
        )
        os.close(descriptor)
        self.is_closed = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def take(self, content: bytes) -> list[bytes]:
        """Look at what has come; the answers to what it asks, in order."""
        raise NotImplementedError

    def press(self, *keys: str) -> None:
        """Keys by name (`enter`, `ctrl+l`), or letters to type."""
        for key in keys:
            os.write(self._side, KEYS.get(key) or key.encode())

    def resize(self, columns: int, rows: int) -> None:
        with self.lock:
            self._set_size(columns, rows)

    def wait_until_still(self, quiet: float = 0.4, seconds: float = 30.0) -> None:
        """Until nothing has come for a moment."""
        deadline = time.monotonic() + seconds
        before = -1
        while before != (before := len(self.received)):
            assert time.monotonic() < deadline, "it writes without an end"
            time.sleep(quiet)

    def close(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._thread.join(5)
        with contextlib.suppress(OSError):
            os.close(self._side)

    def _set_size(self, columns: int, rows: int) -> None:
        width, height = self.cell
        fcntl.ioctl(self._side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, columns * width, rows * height))

    def _serve(self) -> None:
        waiting: deque[tuple[float, bytes]] = deque()
        while True:
            while waiting and waiting[0][0] <= time.monotonic():
                with contextlib.suppress(OSError):
                    os.write(self._side, waiting.popleft()[1])
            if not select.select([self._side], [], [], SLICE_SECONDS if waiting else IDLE_SECONDS)[0]:
                if self.process.poll() is not None:
                    break
                continue
            try:
                content = os.read(self._side, max(1, int(self.rate * SLICE_SECONDS)) if self.rate else 65_536)
            except OSError:
                break
            if not content:
                break
            with self.lock:
                self.received += content
                answers = self.take(content)
                self.lock.notify_all()
            waiting += [(time.monotonic() + self.round_trip, answer) for answer in answers]
            if self.rate:
                time.sleep(len(content) / self.rate)
        self.is_closed = True


class PtyTerminal(PtyProgram):
    """With a `Window`. `wait_for` waits for words on it, or until something is so."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str] | None = None, *, kind: str = "kitty", columns: int = 80, rows: int = 24
    ) -> None:
        self.window = type("Window", (Window,), {"kind": kind})(columns, rows)
        self.cell = self.window.cell
        super().__init__(argv, environment, columns=columns, rows=rows)

    @property
    def text(self) -> str:
        with self.lock:
            return str(self.window.text)

    @property
    def clipboard(self) -> str:
        """What was last copied by OSC 52."""
        found = re.findall(rb"\x1b\]52;[a-z]*;([^\x07\x1b]*)", bytes(self.received))
        return base64.b64decode(found[-1]).decode() if found else ""

    def take(self, content: bytes) -> list[bytes]:
        self.window.feed(content)
        answers, self.window.answers = self.window.answers, []
        return answers

    def resize(self, columns: int, rows: int) -> None:
        with self.lock:
            self.window.resize(columns, rows)
            super().resize(columns, rows)

    def picture(self, *place: int) -> Image.Image:
        """The pixels of a part of the screen: left, top, columns, rows."""
        with self.lock:
            shown: Image.Image = self.window.picture(*place)
            return shown

    def wait_for(self, wanted: str | Callable[[], Any], seconds: float = 30.0, *, gone: bool = False) -> None:
        """Until the words stand on the screen (`gone`: no more), or the question is answered by yes."""
        is_so = (lambda: (wanted in self.text) is not gone) if isinstance(wanted, str) else wanted
        deadline = time.monotonic() + seconds
        while not is_so():
            said = self.text
            assert time.monotonic() < deadline, f"{wanted if isinstance(wanted, str) else 'it'} did not come; the screen:\n{said}"
            assert not self.is_closed or is_so(), f"the program ended ({self.process.poll()}); the screen:\n{said}"
            time.sleep(0.03)


def _num_whole(content: bytes) -> int:
    """How many bytes can be taken now: a sequence or letter that is cut waits for its rest."""
    end = 0
    for found in TOKEN.finditer(content):
        if found["esc"] in (b"P", b"_"):
            return found.start()
        end = found.end()
    unfinished = UNFINISHED.search(content, end)
    end = unfinished.start() if unfinished else len(content)
    try:
        content[:end].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            raise
        return error.start
    return end


def _cell(cell: Any) -> Cell:
    foreground, background = _colour(cell.fg), _colour(cell.bg)
    if cell.reverse:
        foreground, background = background, foreground
    return Cell(cell.data, foreground, background)


def _colour(name: str) -> RGB | None:
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return int(name[:2], 16), int(name[2:4], 16), int(name[4:], 16)
    return BASIC.get(name.removeprefix("bright"))


def _take_terminal() -> None:
    """In the child: the pty is its controlling terminal, so that ctrl+z and the size's changes reach it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
