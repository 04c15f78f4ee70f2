"""A terminal on a pty that answers questions by a script, after a round trip. For the probe, the driver and the writer."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import threading
import time
import tty
from collections.abc import Iterator, Mapping

KITTY = rb"\x1b_Gi=31[^\x1b]*\x1b\\"
CELL = rb"\x1b\[16t"
VERSION = rb"\x1b\[>0?q"
COLOURS = rb"\x1b\[\?1;1;0S"
SIZE = rb"\x1b\[\?2;1;0S"
DA1 = rb"\x1b\[0?c"
THROUGH_TMUX = rb"\x1bPtmux;\x1b\x1b_Gi=31.*?\x1b\x1b\\\x1b\\"

KITTY_TERMINAL = {
    KITTY: b"\x1b_Gi=31;OK\x1b\\",
    CELL: b"\x1b[6;18;9t",
    VERSION: b"\x1bP>|kitty(0.41.1)\x1b\\",
    DA1: b"\x1b[?62;52;c",
}
XTERM = {
    CELL: b"\x1b[6;17;8t",
    VERSION: b"\x1bP>|XTerm(379)\x1b\\",
    COLOURS: b"\x1b[?1;0;256S",
    SIZE: b"\x1b[?2;0;1000;1000S",
    DA1: b"\x1b[?63;1;2;4;6;9;15;16;17;18;21;22;28c",
}
KONSOLE = {**KITTY_TERMINAL, VERSION: b"\x1bP>|Konsole 23.08.1\x1b\\", DA1: b"\x1b[?62;1;4c"}
DUMB = {DA1: b"\x1b[?1;2c"}


class ScriptedTerminal:
    """`descriptor` is the program's side. Answers come `round_trip` seconds after their questions, in order."""

    def __init__(self, answers: Mapping[bytes, bytes], round_trip: float = 0.0, *, late: float = 0.0) -> None:
        self.answers = answers
        self.round_trip = round_trip
        self.late = late
        """How much later the answer to what went through tmux comes."""
        self.asked = b""
        self.side, self.descriptor = pty.openpty()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def press(self, keys: bytes) -> None:
        os.write(self.side, keys)

    def _serve(self) -> None:
        waiting: list[tuple[float, bytes]] = []
        unanswered = b""
        pattern = re.compile(b"|".join(b"(%b)" % question for question in self.answers), re.DOTALL)
        replies = list(self.answers.items())
        while not self._stop.is_set():
            if select.select([self.side], [], [], 0.005)[0]:
                with contextlib.suppress(OSError):
                    content = os.read(self.side, 65_536)
                    self.asked += content
                    unanswered += content
                    end = 0
                    for match in pattern.finditer(unanswered):
                        question, answer = replies[(match.lastindex or 1) - 1]
                        extra = self.late if question == THROUGH_TMUX else 0.0
                        waiting.append((time.monotonic() + self.round_trip + extra, answer))
                        end = match.end()
                    unanswered = unanswered[end:]
            now = time.monotonic()
            for one in [one for one in waiting if one[0] <= now]:
                waiting.remove(one)
                os.write(self.side, one[1])

    @contextlib.contextmanager
    def running(self) -> Iterator[ScriptedTerminal]:
        tty.setcbreak(self.descriptor)
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
            os.close(self.side)
            os.close(self.descriptor)


def left_over(descriptor: int, seconds: float) -> bytes:
    """What could be read as keys within `seconds`."""
    found = b""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.02)[0]:
            found += os.read(descriptor, 4096)
    return found
