"""Curves as rows of characters: scales, smoothing, decimation and rasters. Pure: numbers in, cells out; no Textual, no colour.

A curve of a million points is drawn from a pyramid of minima and maxima that grows with it: a drawing costs what its columns
cost, new points cost what they are, and no peak is ever lost between two columns.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

FACTOR = 32
"""Entries of one level that are one of the next."""
TINY = 1e-290
"""Nearer to zero floats lose their digits, and a tenth of a scale would be nothing; beyond its inverse nothing is drawn."""

Cell = tuple[str, int]
"""A character and whose it is: the layer's number, or one of the constants below."""
EMPTY, AXIS, CURSOR = -1, -2, -3
_BLANK: Cell = (" ", EMPTY)
_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_ASCII_MARKS = "*o+x#%"


class Extremes:
    """Least and greatest of any stretch of a list that only grows: O(log n) a question, O(new values) an `update`."""

    def __init__(self, values: Sequence[float]) -> None:
        self._values = values
        self._lows: list[array[float]] = []
        self._highs: list[array[float]] = []

    def update(self) -> None:
        """Take up what was appended."""
        lows: Sequence[float] = self._values
        highs: Sequence[float] = self._values
        level = 0
        while len(lows) >= FACTOR:
            if level == len(self._lows):
                self._lows.append(array("d"))
                self._highs.append(array("d"))
            done = len(self._lows[level])
            for start in range(done * FACTOR, len(lows) - FACTOR + 1, FACTOR):
                self._lows[level].append(min(lows[start : start + FACTOR]))
                self._highs[level].append(max(highs[start : start + FACTOR]))
            lows, highs = self._lows[level], self._highs[level]
            level += 1

    def between(self, start: int, stop: int) -> tuple[float, float]:
        """(least, greatest) of `values[start:stop]`, which must not be empty."""
        low, high = math.inf, -math.inf
        lows: Sequence[float] = self._values
        highs: Sequence[float] = self._values
        level = 0
        while start < stop:
            above = len(self._lows[level]) if level < len(self._lows) else 0
            first, last = -(-start // FACTOR), min(stop // FACTOR, above)
            if first >= last:
                return min(low, min(lows[start:stop])), max(high, max(highs[start:stop]))
            for begin, end in ((start, first * FACTOR), (last * FACTOR, stop)):
                if begin < end:
                    low, high = min(low, min(lows[begin:end])), max(high, max(highs[begin:end]))
            lows, highs = self._lows[level], self._highs[level]
            start, stop, level = first, last, level + 1
        return low, high


class Smoothed:
    """The exponential moving average of a list that only grows, without the bias of its beginning (Kingma & Ba, 2014, section 3)."""

    def __init__(self, values: Sequence[float], weight: float) -> None:
        self.values = array("d")
        self._source = values
        self._weight = weight
        self._average = 0.0
        self._mass = 0.0

    def update(self, most: int = 1 << 62) -> None:
        """Take up what was appended, so many values at most."""
        weight, average, mass = self._weight, self._average, self._mass
        append = self.values.append
        done = len(self.values)
        for value in self._source[done : done + most]:
            average = weight * average + (1.0 - weight) * value
            mass = weight * mass + (1.0 - weight)
            append(average / mass)
        self._average, self._mass = average, mass


class Column(NamedTuple):
    """What falls into one column of dots."""

    low: float
    high: float
    first: float
    last: float


class Trace:
    """One curve as it is drawn: its steps, its values (smoothed by `weight`), and the pyramid above them.

    `steps` and `values` are the caller's lists, of ascending steps; `update` takes up what they got.
    """

    def __init__(self, steps: Sequence[int], values: Sequence[float], weight: float = 0.0) -> None:
        self.steps = steps
        self.source = values
        self.weight = weight
        self._begin()

    def _begin(self) -> None:
        self._smoothed = Smoothed(self.source, self.weight) if self.weight else None
        self.values: Sequence[float] = self._smoothed.values if self._smoothed else self.source
        self._extremes = Extremes(self.values)
        self._taken = (0, 0)

    def update(self, most: int = 1 << 62) -> bool:
        """Take up what was appended (where something came in between, everything), smoothing so many at most; False: there is more."""
        count, last = self._taken
        if count and (len(self.steps) < count or self.steps[count - 1] != last):
            self._begin()
        self._taken = (len(self.steps), self.steps[-1]) if len(self.steps) else (0, 0)
        if self._smoothed:
            self._smoothed.update(most)
        self._extremes.update()
        return len(self.values) >= len(self.source)

    def __len__(self) -> int:
        return min(len(self.steps), len(self.values))

    def at(self, step: int) -> tuple[int, float, float] | None:
        """(step, value as drawn, value as told) of the point nearest to `step`."""
        if not len(self):
            return None
        index = min(bisect_left(self.steps, step, 0, len(self)), len(self) - 1)
        if index and step - self.steps[index - 1] < self.steps[index] - step:
            index -= 1
        return self.steps[index], self.values[index], self.source[index]

    def extent(self, window: Window) -> tuple[float, float] | None:
        """(least, greatest) inside the window."""
        start, stop = self._inside(window)
        return self._extremes.between(start, stop) if start < stop else None

    def columns(self, window: Window, num_columns: int) -> Iterator[tuple[int, Column]]:
        """(column, what falls into it), left to right; empty columns are left out. The neighbours outside the window come too."""
        start, stop = self._inside(window)
        if start > 0:
            value = self.values[start - 1]
            yield window.column(self.steps[start - 1], num_columns), Column(value, value, value, value)
        while start < stop:
            column = window.column(self.steps[start], num_columns)
            end = min(max(bisect_left(self.steps, window.first_step(column + 1, num_columns), start, stop), start + 1), stop)
            low, high = self._extremes.between(start, end)
            yield column, Column(low, high, self.values[start], self.values[end - 1])
            start = end
        if stop < len(self):
            value = self.values[stop]
            yield window.column(self.steps[stop], num_columns), Column(value, value, value, value)

    def _inside(self, window: Window) -> tuple[int, int]:
        start = bisect_left(self.steps, window.first, 0, len(self))
        return start, bisect_right(self.steps, window.last, start, len(self))


@dataclass(frozen=True)
class Window:
    """The steps a chart shows, both ends included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return max(self.last - self.first, 1)

    def column(self, step: int, num_columns: int) -> int:
        """The column a step falls into; below 0 or beyond the last one outside the window."""
        return (step - self.first) * num_columns // (self.length + 1)

    def first_step(self, column: int, num_columns: int) -> int:
        """The first step that falls into a column."""
        return self.first - (-column * (self.length + 1) // num_columns)

    def zoomed(self, factor: float, around: int, whole: Window) -> Window:
        """Longer by `factor`, `around` staying where it is, inside of `whole`."""
        length = max(4, round(self.length * factor))
        if length >= whole.length:
            return whole
        first = round(around - (around - self.first) * length / self.length)
        return Window(first, first + length).inside(whole)

    def moved(self, by: int, whole: Window) -> Window:
        return Window(self.first + by, self.last + by).inside(whole)

    def inside(self, whole: Window) -> Window:
        """As long, moved into `whole`."""
        first = max(whole.first, min(self.first, whole.last - self.length))
        return Window(first, min(first + self.length, whole.last))


@dataclass(frozen=True)
class Scale:
    """Values to heights. Its ends are round numbers, so that they stay while values come in."""

    low: float
    high: float
    is_log: bool = False

    def height(self, value: float) -> float:
        """0 at the low end, 1 at the high one, held inside; nothing that is not a number gets in."""
        if not math.isfinite(value):
            return 0.0
        if self.is_log:
            share = (math.log10(max(value, self.low)) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))

    def value(self, height: float) -> float:
        """The value at a height: the inverse of `height`."""
        if self.is_log:
            return float(10 ** (math.log10(self.low) + height * (math.log10(self.high) - math.log10(self.low))))
        return self.low + height * (self.high - self.low)


def fitting(low: float, high: float, is_log: bool = False) -> Scale:
    """A scale with round ends around what there is. Logarithmic only where all is above 0."""
    size = max(abs(low), abs(high))
    if not size < 1 / TINY:
        return Scale(0.0, 1.0)
    if is_log and low > TINY:
        near = fitting(low, high)
        if high < 5 * low and near.low > 0.0:
            return Scale(near.low, near.high, True)
        floor, ceiling = _round_log(low, up=False), _round_log(high, up=True)
        return Scale(floor, ceiling if ceiling > floor else floor * 10, True)
    if high - low <= max(size * 1e-9, TINY):
        spread = size * 0.1 if size > TINY else 1.0
        low, high = low - spread, high + spread
    grain = _grain((high - low) / 6)
    return Scale(math.floor(low / grain + 1e-9) * grain, math.ceil(high / grain - 1e-9) * grain)


def round_up(step: int) -> int:
    """The next of 10, 20, 50, 100, ...: an end for an axis whose curve goes on."""
    magnitude = 10
    while True:
        for factor in (1, 2, 5):
            if step <= factor * magnitude:
                return factor * magnitude
        magnitude *= 10


def number(value: float, width: int = 7) -> str:
    """A value in at most `width` characters: `0.0123`, `1.1e-4`, `n/a`."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return "n/a"
    text = f"{value:.4g}"
    if "e" in text or len(text) > width or abs(value) < 1e-3:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return text


def plot(traces: Sequence[Trace], window: Window, scale: Scale, width: int, height: int, *, ascii_only: bool = False) -> list[list[Cell]]:
    """`height` rows of `width` cells. The first trace lies on top; the others are dotted, each in its own way, beside their colour."""
    across, down = (1, 2) if ascii_only else (2, 4)
    rows = [[_BLANK] * width for _ in range(height)]
    for layer in reversed(range(len(traces))):
        dots = [[0] * width for _ in range(height)]
        for x, y in _dots(traces[layer], window, scale, width * across, height * down):
            if layer and not ascii_only and (x // layer) % 2:
                continue
            dots[y // down][x // across] |= _bit(x % across, y % down, ascii_only)
        for row, marks in zip(rows, dots, strict=True):
            for column, mark in enumerate(marks):
                if mark:
                    row[column] = (_character(mark, row[column], layer, ascii_only), layer)
    return rows


def changed_spans(before: Sequence[Sequence[Cell]], after: Sequence[Sequence[Cell]]) -> list[tuple[int, int, int]]:
    """(row, first column, width) of what differs, at most one span a row; what a row lacks is blank."""
    spans = []
    for y in range(max(len(before), len(after))):
        old: Sequence[Cell] = before[y] if y < len(before) else ()
        new: Sequence[Cell] = after[y] if y < len(after) else ()
        places = [x for x, (one, other) in enumerate(zip_longest(old, new, fillvalue=_BLANK)) if one != other]
        if places:
            spans.append((y, places[0], places[-1] - places[0] + 1))
    return spans


def _dots(trace: Trace, window: Window, scale: Scale, width: int, height: int) -> Iterator[tuple[int, int]]:
    """The dots of a curve: a stroke from least to greatest in each column, joined to the next one by a line."""

    def row(value: float) -> int:
        return round((1.0 - scale.height(value)) * (height - 1))

    before: tuple[int, int] | None = None
    for x, column in trace.columns(window, width):
        if 0 <= x < width:
            yield from ((x, y) for y in range(row(column.high), row(column.low) + 1))
        if before is not None:
            yield from _line(before, (x, row(column.first)), width)
        before = (x, row(column.last))


def _line(start: tuple[int, int], end: tuple[int, int], width: int) -> Iterator[tuple[int, int]]:
    """The dots between two, column by column, without gaps."""
    run = end[0] - start[0]
    previous = start[1]
    for x in range(max(start[0] + 1, 0), min(end[0], width - 1) + 1):
        y = round(start[1] + (end[1] - start[1]) * (x - start[0]) / max(run, 1))
        inner = range(min(previous, y), max(previous, y) + 1)
        yield from ((x, between) for between in inner if between != previous or previous == y)
        previous = y


def _bit(x: int, y: int, ascii_only: bool) -> int:
    return 1 << y if ascii_only else _BRAILLE[y][x]


def _character(mark: int, below: Cell, layer: int, ascii_only: bool) -> str:
    if ascii_only:
        return "'.:"[mark - 1] if layer == 0 else _ASCII_MARKS[layer % len(_ASCII_MARKS)]
    under = ord(below[0]) - 0x2800 if below[1] >= 0 else 0
    return chr(0x2800 + (mark | under))


def _grain(width: float) -> float:
    """1, 2 or 5 times a power of ten, at least `width`."""
    magnitude = 10.0 ** math.floor(math.log10(max(width, 1e-300)))
    return next((factor * magnitude for factor in (1, 2, 5) if factor * magnitude >= width * (1 - 1e-9)), 10 * magnitude)


def _round_log(value: float, up: bool) -> float:
    """The next of 1, 2, 5 times a power of ten, upwards or downwards."""
    magnitude = 10.0 ** math.floor(math.log10(value))
    steps = [factor * magnitude for factor in (1, 2, 5, 10)]
    if up:
        return next((step for step in steps if step >= value * (1 - 1e-9)), steps[-1])
    return next((step for step in reversed(steps) if step <= value * (1 + 1e-9)), magnitude)
