"""A kitty for a program that is measured: draws nothing itself, counts what is written, reads as slowly as a line is."""

from __future__ import annotations

import os
import re
import resource
import time

from tests.pty_terminal import PtyProgram

ANSWERS = (
    (re.compile(rb"\x1b_Gi=(\d+)[^\x1b]*a=q[^\x1b]*\x1b\\"), b"\x1b_Gi=%b;OK\x1b\\"),
    (re.compile(rb"\x1b\[16t"), b"\x1b[6;20;10t"),
    (re.compile(rb"\x1b\[>0?q"), b"\x1bP>|kitty(0.41.1)\x1b\\"),
    (re.compile(rb"\x1b\[0?c"), b"\x1b[?62;52;c"),
    (re.compile(rb"\x1b\[2;(\d+)H\x1b\[6n"), b"\x1b[2;%bR"),
)
NOT_TEXT = re.compile(rb"\x1b_G[^\x1b]*\x1b\\|\x1b7\x1b\[2;\d+H\x1b\[6n\x1b8|\x1b\[\?2026[hl]")
LEAST_PAINT = 24
"""Bytes of text from which on something was painted: less may be the half of a question."""


class MeteredTerminal(PtyProgram):
    """What a program costs: bytes, time, memory."""

    _mark = 0
    _asked = b""

    def mark(self) -> None:
        """Count from here on."""
        with self.lock:
            self._mark = len(self.received)

    @property
    def num_bytes(self) -> int:
        """Bytes since `mark`."""
        return len(self.received) - self._mark

    def wait_for(self, text: bytes, seconds: float = 60.0) -> float:
        """Seconds from the start of the program until it has written `text`."""
        with self.lock:
            if not self.lock.wait_for(lambda: text in self.received, seconds):
                raise SystemExit(f"{self.argv[1:]} never wrote {text!r}; last: {bytes(self.received[-300:])!r}")
        return time.perf_counter() - self.began

    def act(self, key: str, seconds: float = 30.0) -> None:
        """Press a key, wait until something comes of it, and until nothing more does."""
        count = len(self.received)
        self.press(key)
        with self.lock:
            self.lock.wait_for(lambda: len(self.received) > count, seconds)
        self.wait_until_still(2.0)

    def paint_seconds(self, key: str, seconds: float = 20.0) -> float:
        """From a key to the first text that is painted thereafter; bytes of pictures do not count."""
        with self.lock:
            start = len(self.received)
            inside = self.received.rfind(b"\x1b_G", 0, start)
            if inside >= 0 and self.received.find(b"\x1b\\", inside, start) < 0:
                start = inside
            begun = time.perf_counter()
            self.press(key)
            self.lock.wait_for(lambda: self._num_painted(start) >= LEAST_PAINT, seconds)
        return time.perf_counter() - begun

    def cpu_seconds(self) -> float:
        """Processor time of the program so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:  # noqa: PTH123
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Its resident memory now."""
        with open(f"/proc/{self.process.pid}/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * resource.getpagesize()

    def take(self, content: bytes) -> list[bytes]:
        asked = self._asked + content
        found: list[tuple[int, bytes]] = []
        end = 0
        for question, answer in ANSWERS:
            for match in question.finditer(asked):
                found.append((match.start(), answer % match.groups()))
                end = max(end, match.end())
        self._asked = asked[end:][-256:]
        return [answer for _, answer in sorted(found)]

    def _num_painted(self, start: int) -> int:
        text = NOT_TEXT.sub(b"", bytes(self.received[start:]))
        unfinished = text.find(b"\x1b_G")
        return len(text) if unfinished < 0 else unfinished
