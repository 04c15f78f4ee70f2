"""A terminal on a pty for a program that is measured: answers what programs ask, counts what they write, reads as slowly as a line is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
import select
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

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
SLICE_SECONDS = 0.01


class PtyTerminal:
    """A kitty of `columns` x `rows`, `round_trip` seconds away, on a line of `rate` bytes a second (None: as fast as can be)."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], *, size: tuple[int, int] = (100, 40), round_trip: float = 0.0
    ) -> None:
        self.argv, self.environment, self.size, self.round_trip = argv, environment, size, round_trip
        self.rate: float | None = None
        self.received = bytearray()
        self.began = 0.0
        self._mark = 0
        self._arrived = threading.Condition()
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[PtyTerminal]:
        """Start the program; end it when left."""
        self.side, program = os.openpty()
        fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", self.size[1], self.size[0], self.size[0] * 10, self.size[1] * 20))
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            self.argv, stdin=program, stdout=program, stderr=program, env=dict(self.environment), start_new_session=True
        )
        os.close(program)
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.process.kill()
            self.process.wait()
            self._stop.set()
            thread.join()
            os.close(self.side)

    def press(self, keys: bytes) -> None:
        os.write(self.side, keys)

    def mark(self) -> None:
        """Count from here on."""
        with self._arrived:
            self._mark = len(self.received)

    @property
    def num_bytes(self) -> int:
        """Bytes since `mark`."""
        return len(self.received) - self._mark

    def wait_for(self, text: bytes, seconds: float = 60.0) -> float:
        """Seconds from the start of the program until it has written `text`."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: text in self.received, seconds):
                raise SystemExit(f"{self.argv[1:]} never wrote {text!r}; last: {bytes(self.received[-300:])!r}")
        return time.perf_counter() - self.began

    def settle(self, quiet_seconds: float = 0.7, seconds: float = 60.0) -> None:
        """Wait until nothing has come for a while."""
        until = time.monotonic() + seconds
        count = -1
        while count != len(self.received) and time.monotonic() < until:
            count = len(self.received)
            time.sleep(quiet_seconds)

    def act(self, key: bytes, seconds: float = 30.0) -> None:
        """Press a key, wait until something comes of it, and until nothing more does."""
        count = len(self.received)
        self.press(key)
        with self._arrived:
            self._arrived.wait_for(lambda: len(self.received) > count, seconds)
        self.settle(2.0)

    def paint_seconds(self, key: bytes, seconds: float = 20.0) -> float:
        """From a key to the first text that is painted thereafter; bytes of pictures do not count."""
        with self._arrived:
            start = len(self.received)
            inside = self.received.rfind(b"\x1b_G", 0, start)
            if inside >= 0 and self.received.find(b"\x1b\\", inside, start) < 0:
                start = inside
            begun = time.perf_counter()
            self.press(key)
            self._arrived.wait_for(lambda: self._num_painted(start) >= LEAST_PAINT, seconds)
        return time.perf_counter() - begun

    def _num_painted(self, start: int) -> int:
        text = NOT_TEXT.sub(b"", bytes(self.received[start:]))
        unfinished = text.find(b"\x1b_G")
        return len(text) if unfinished < 0 else unfinished

    def cpu_seconds(self) -> float:
        """Processor time of the program so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:  # noqa: PTH123
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Its resident memory now."""
        with open(f"/proc/{self.process.pid}/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * resource.getpagesize()

    def _serve(self) -> None:
        waiting: list[tuple[float, bytes]] = []
        asked = b""
        while not self._stop.is_set():
            for due, answer in [one for one in waiting if one[0] <= time.monotonic()]:
                waiting.remove((due, answer))
                os.write(self.side, answer)
            if not select.select([self.side], [], [], SLICE_SECONDS)[0]:
                continue
            try:
                content = os.read(self.side, max(1, int((self.rate or 6_553_600) * SLICE_SECONDS)))
            except OSError:
                return
            with self._arrived:
                self.received += content
                self._arrived.notify_all()
            asked, answers = self._answers(asked + content)
            waiting += [(time.monotonic() + self.round_trip, answer) for answer in answers]
            if self.rate:
                time.sleep(len(content) / self.rate)

    def _answers(self, asked: bytes) -> tuple[bytes, list[bytes]]:
        found: list[tuple[int, bytes]] = []
        end = 0
        for question, answer in ANSWERS:
            for match in question.finditer(asked):
                found.append((match.start(), answer % match.groups()))
                end = max(end, match.end())
        return asked[end:][-256:], [answer for _, answer in sorted(found)]
