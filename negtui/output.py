"""What the command line prints: lines for people, JSON for programs. Strings from outside lose their terminal escapes here."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import msgspec

from daemon.protocol.errors import NegError

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|$)|[ -/]*[0-~])|\x9b[0-?]*[ -/]*[@-~]", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """Text that cannot steer a terminal: without escape sequences, control characters and changes of direction."""
    return _CONTROL.sub("", _ESCAPE.sub("", text))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "", right: frozenset[int] = frozenset()) -> list[str]:
    """Lines of columns as wide as their widest cell; the columns in `right` end flush."""
    cells = [list(headings), *([" ".join(clean(cell).split()) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = []
    for row in cells:
        parts = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((indent + "  ".join(parts)).rstrip())
    return lines


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def quantity(number: int, one: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


class Output:
    """The two streams of one invocation. `line` is for people and left out by --json and --quiet; `result` only by --json."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr

    @property
    def has_bars(self) -> bool:
        """Whether progress may be drawn: on a terminal only."""
        return not self.as_json and not self.quiet and self.stdout.isatty()

    def line(self, text: str = "") -> None:
        if not self.quiet:
            self.result(text)

    def result(self, text: str = "") -> None:
        if not self.as_json:
            self._write(self.stdout, clean(text))

    def object(self, value: Any) -> None:
        """A line of JSON, ASCII only; nothing without --json."""
        if self.as_json:
            self._write(self.stdout, json.dumps(msgspec.to_builtins(value), ensure_ascii=True, allow_nan=False))

    def note(self, text: str) -> None:
        """Something to know that is not the answer, e.g. a warning."""
        self._write(self.stderr, clean(text))

    def error(self, error: NegError) -> None:
        """What happened on one line, what to do on the next."""
        self.object({"error": error.detail})
        self.note(f"negtui: {error.detail.message}")
        if error.detail.hint:
            self.note(f"  {error.detail.hint}")

    def _write(self, stream: TextIO, text: str) -> None:
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        stream.flush()
