from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from negtui.pixels import writer
from negtui.pixels.writer import WINDOW_BYTES, OrderedWriter


class Slow:
    """A line of so many bytes a second whose far end answers where its cursor is, unless it is mute."""

    def __init__(self, bytes_per_second: float = 1e9, *, mute: bool = False) -> None:
        self.reading, self.writing = os.pipe()
        self.received = bytearray()
        self.times: list[tuple[float, int]] = []
        self.acknowledge: Callable[[int], None] = lambda mark: None
        self._pace, self._mute = bytes_per_second, mute
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.file = os.fdopen(self.writing, "w")

    def close(self) -> None:
        self.file.close()
        self._thread.join()
        os.close(self.reading)

    def _read(self) -> None:
        answered = 0
        while content := os.read(self.reading, 4096):
            time.sleep(len(content) / self._pace)
            self.received += content
            self.times.append((time.monotonic(), len(self.received)))
            while not self._mute and (at := self.received.find(b"H\x1b[6n", answered)) >= 0:
                mark = int(self.received[:at].rpartition(b";")[2])
                answered = at + 1
                self.acknowledge(mark)

    def arrived(self, content: bytes) -> float:
        """When `content` had arrived."""
        end = self.received.index(content) + len(content)
        return next(when for when, number in self.times if number >= end)


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def started(line: Slow) -> OrderedWriter:
    made = OrderedWriter(line.file)
    line.acknowledge = made.acknowledge
    made.start()
    return made


def test_text_goes_in_order_and_pieces_behind_it() -> None:
    line = Slow()
    out = started(line)
    done: list[bool] = []
    out.send([b"<one>", b"<two>"], lambda: True, done.append)
    for number in range(50):
        out.write(f"[{number}]")
    wait_for(lambda: done == [True])
    out.write("end")
    out.stop()
    line.close()
    text = bytes(line.received)
    assert text.index(b"<one>") < text.index(b"<two>") < text.index(b"end")
    positions = [text.index(b"[%d]" % number) for number in range(50)]
    assert positions == sorted(positions)
    assert out.num_text_bytes == len("".join(f"[{number}]" for number in range(50))) + 3


def test_a_key_is_painted_while_a_picture_goes_out() -> None:
    """Whatever the buffers on the way hold: less than a window of the picture stands before the text."""
    line = Slow(250_000)
    out = started(line)
    pieces = [b"p" * 16_000] * 25
    out.send(pieces, lambda: True, lambda written: None)
    wait_for(lambda: len(line.received) > 60_000)
    before = len(line.received)
    out.write("KEY")
    wait_for(lambda: b"KEY" in line.received)
    assert line.received.index(b"KEY") - before <= WINDOW_BYTES + 70_000
    out.stop()
    line.close()


def test_no_more_than_a_window_is_under_way() -> None:
    line = Slow(mute=True)
    out = OrderedWriter(line.file)
    out.start()
    out.send([b"p" * 16_000] * 20, lambda: True, lambda written: None)
    time.sleep(0.3)
    assert len(line.received) <= WINDOW_BYTES + 1000
    out.stop()
    line.close()


def test_a_terminal_that_never_answers_is_asked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ANSWER_SECONDS", 0.05)
    line = Slow(mute=True)
    out = OrderedWriter(line.file)
    out.start()
    done: list[bool] = []
    out.send([b"p" * 16_000] * 40, lambda: True, done.append)
    wait_for(lambda: done == [True])
    out.stop()
    line.close()
    assert line.received.count(b"p") == 640_000
    assert line.received.count(b"\x1b[6n") < 10


def test_what_is_not_wanted_any_more_is_not_begun_and_what_is_begun_is_ended() -> None:
    line = Slow(mute=True)
    out = OrderedWriter(line.file)
    out.start()
    done: list[tuple[str, bool]] = []
    wanted = [True]
    out.send([b"a" * 30_000] * 4, lambda: wanted[0], lambda written: done.append(("a", written)))
    out.send([b"b"], lambda: wanted[0], lambda written: done.append(("b", written)))
    wait_for(lambda: len(line.received) > 10_000)
    wanted[0] = False
    out.acknowledge(1)
    wait_for(lambda: len(line.received) > 50_000)
    out.stop()
    line.close()
    assert line.received.count(b"a") == 120_000
    assert done == [("a", True), ("b", False)]


def test_a_wrong_answer_changes_nothing() -> None:
    line = Slow(mute=True)
    out = OrderedWriter(line.file)
    out.acknowledge(17)
    out.start()
    out.write("é")
    out.stop()
    line.close()
    assert bytes(line.received) == "é".encode()
    assert out.isatty()


def test_a_terminal_that_is_gone_ends_the_writer() -> None:
    reading, writing = os.pipe()
    file = os.fdopen(writing, "w")
    out = OrderedWriter(file)
    os.close(reading)
    done: list[bool] = []
    out.start()
    out.send([b"x"], lambda: True, done.append)
    out.join(10)
    assert not out.is_alive()
    out.send([b"x"], lambda: True, done.append)
    out.write("nothing")
    out.stop()
    file.close()
