"""The one ordered way to the terminal, for text and pictures. Takes the place of Textual's writer thread; knows no widget.

Text goes first, pictures in pieces between. Behind each piece the terminal is asked where its cursor is (CSI 6 n): the answer
tells that the piece has arrived, and only so much is let go as keeps the line busy. However large the buffers on the way (ssh's are
megabytes), a key pressed meanwhile is painted behind `WINDOW_BYTES` of picture at most.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

WINDOW_BYTES = 49_152
"""The most picture bytes under way without an answer."""
ANSWER_SECONDS = 1.5
"""After this an answer counts as lost."""
MAX_LOST = 2
"""After so many lost answers in a row the terminal is not asked again: then the line alone sets the pace."""
MAX_TEXT = 4 * 1024 * 1024
"""Characters of text that may wait; beyond them, writing blocks."""
NUM_MARKS = 40
_ASK = b"\x1b7\x1b[2;%dH\x1b[6n\x1b8"
"""Row 2, for a report from row 1 could be F3; the column is the number of the question."""


class Batch(NamedTuple):
    """Pieces that belong together."""

    pieces: deque[bytes]
    wanted: Callable[[], bool]
    done: Callable[[bool], None]


class OrderedWriter(threading.Thread):
    """Writes to a terminal's file. `write`, `flush`, `isatty`, `fileno` and `stop` are as Textual's writer has them."""

    def __init__(self, file: IO[str], *, asks: bool = True) -> None:
        super().__init__(daemon=True, name="negtui-output")
        self.num_picture_bytes = 0
        self.num_text_bytes = 0
        self._file = file
        self._asks = asks
        self._ready = threading.Condition()
        self._texts: deque[str] = deque()
        self._text_size = 0
        self._batches: deque[Batch] = deque()
        self._begun = False
        self._under_way: deque[tuple[int, int, float]] = deque()
        self._mark = 0
        self._num_lost = 0
        self._is_stopping = False

    def write(self, text: str) -> None:
        """Queue text; it goes before any picture."""
        with self._ready:
            self._ready.wait_for(lambda: self._text_size < MAX_TEXT or self._is_stopping)
            self._texts.append(text)
            self._text_size += len(text)
            self._ready.notify_all()

    def send(self, pieces: Sequence[bytes], wanted: Callable[[], bool], done: Callable[[bool], None]) -> None:
        """Queue pieces of a picture (a `Sender`)."""
        with self._ready:
            self._batches.append(Batch(deque(pieces), wanted, done))
            self._ready.notify_all()

    def acknowledge(self, mark: int) -> None:
        """The terminal has told where its cursor was: the piece of that number has arrived, and those before it."""
        with self._ready:
            if any(number == mark for number, _, _ in self._under_way):
                while self._under_way.popleft()[0] != mark:
                    pass
                self._num_lost = 0
                self._ready.notify_all()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def flush(self) -> None:
        return

    def stop(self) -> None:
        """Write the text that waits, drop the pictures that have not begun, end."""
        with self._ready:
            self._is_stopping = True
            self._ready.notify_all()
        self.join()

    def run(self) -> None:
        try:
            while self._step():
                pass
        except OSError:
            # The terminal is gone; Textual hears of it by its own reading.
            with self._ready:
                self._is_stopping = True
        self._drop_all()

    def _step(self) -> bool:
        """Write one thing; False at the end."""
        with self._ready:
            while not self._texts and not self._may_send():
                if self._is_stopping and not self._begun:
                    return False
                self._ready.wait(self._patience())
                self._forget_lost()
            if self._texts:
                text = "".join(self._texts)
                self._texts.clear()
                self._text_size = 0
                self._ready.notify_all()
                batch = None
            else:
                text, batch = "", self._batches[0]
        if batch is None:
            content = text.encode("utf-8", "replace")
            self.num_text_bytes += len(content)
            self._write_all(content)
        else:
            self._write_piece(batch)
        return True

    def _may_send(self) -> bool:
        if not self._batches or (self._is_stopping and not self._begun):
            return False
        return not self._under_way or sum(size for _, size, _ in self._under_way) + len(self._batches[0].pieces[0]) <= WINDOW_BYTES

    def _patience(self) -> float | None:
        return max(0.0, self._under_way[0][2] + ANSWER_SECONDS - time.monotonic()) if self._under_way else None

    def _forget_lost(self) -> None:
        while self._under_way and time.monotonic() >= self._under_way[0][2] + ANSWER_SECONDS:
            self._under_way.popleft()
            self._num_lost += 1
        if self._num_lost >= MAX_LOST:
            self._asks = False
            self._under_way.clear()

    def _write_piece(self, batch: Batch) -> None:
        """The next piece of a batch; a batch that is not wanted any more is dropped before its first one."""
        if not self._begun and not batch.wanted():
            self._finish(batch, False)
            return
        self._begun = True
        piece = batch.pieces.popleft()
        question = b""
        if self._asks:
            self._mark = self._mark % NUM_MARKS + 1
            question = _ASK % self._mark
            with self._ready:
                self._under_way.append((self._mark, len(piece), time.monotonic()))
        self.num_picture_bytes += len(piece) + len(question)
        self._write_all(piece + question)
        if not batch.pieces:
            self._finish(batch, True)

    def _finish(self, batch: Batch, all_written: bool) -> None:
        with self._ready:
            self._batches.popleft()
            self._begun = False
        batch.done(all_written)

    def _drop_all(self) -> None:
        while self._batches:
            self._finish(self._batches[0], False)

    def _write_all(self, content: bytes) -> None:
        view = memoryview(content)
        descriptor = self._file.fileno()
        while view:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                time.sleep(0.005)
