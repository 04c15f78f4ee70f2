"""Curves as SVG, to stand in an HTML page: no scripts, no fonts, no network; text takes the page's colour. Pure.

Lines are told apart by colour (Okabe and Ito, 2008, for all kinds of sight) and by their dashes, and named at their ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from daemon.comparison.report.forest import round_step
from daemon.protocol.diagnosis import CURVES, Diagnosis

WIDTH, HEIGHT = 480, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 108, 12, 34
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_DASHES = ("none", "7 3", "2 3", "9 3 2 3", "4 2", "1 4")
_LABEL_HEIGHT = 13
_TICKS = 5


@dataclass(frozen=True)
class Line:
    """A named curve; None is a gap."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    style: int
    """Which colour and dash, from 0: the same for the same thing in all charts of a page."""


@dataclass(frozen=True)
class Chart:
    """A chart with its words: `name` heads it, `words` say what is drawn."""

    name: str
    words: str
    svg: str


def diagnosis_charts(diagnosis: Diagnosis) -> list[Chart]:
    """A chart for each curve of the guidance with a line an arm, step by step; then one a training."""
    charts = []
    for name, words in CURVES.items():
        lines = [
            Line(arm.arm, range(1, len(arm.timesteps) + 1), arm.curves[name], style)
            for style, arm in enumerate(diagnosis.arms)
            if any(value is not None for value in arm.curves.get(name, ()))
        ]
        if lines:
            low, high = (None, 1.0) if name.startswith("cosine") else (0.0, None)
            charts.append(Chart(name, words, line_chart(words, "denoising step", lines, low=low, high=high)))
    for one in diagnosis.trainings:
        lines = [Line("separation", one.steps, one.separation, 0), Line("leak", one.steps, one.leak, 1)]
        words = f"how far the adapter {one.adapter} moves the prediction for its own prompt (separation) and for ordinary ones (leak)"
        charts.append(Chart(f"training of {one.adapter}", words, line_chart(words, "training step", lines, low=0.0)))
    return charts


def line_chart(title: str, x_label: str, lines: Sequence[Line], *, low: float | None = None, high: float | None = None) -> str:
    """An SVG of lines on one pair of axes; `low` and `high` end the vertical axis there, unless the figures go beyond."""
    ys = [y for line in lines for y in line.ys if y is not None]
    xs = [float(x) for line in lines for x in line.xs]
    bottom, top = _extent([*ys, *(value for value in (low, high) if value is not None)])
    left, right = _extent(xs)
    height = max(HEIGHT, _TOP + _BOTTOM + _LABEL_HEIGHT * len(lines))

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - left) / (right - left) * (WIDTH - _LEFT - _RIGHT)
        return round(across, 1), round(height - _BOTTOM - (y - bottom) / (top - bottom) * (height - _TOP - _BOTTOM), 1)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" font-size="11" fill="currentColor">'
    ]
    for tick in ticks(bottom, top):
        _, y = place(left, tick)
        parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}" stroke="currentColor" stroke-opacity=".18"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:.4g}</text>')
    for tick in ticks(left, right):
        x, _ = place(tick, bottom)
        parts.append(f'<text x="{x}" y="{height - _BOTTOM + 15}" text-anchor="middle">{tick:.6g}</text>')
    parts.append(f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{height - 4}" text-anchor="middle">{escape(x_label)}</text>')
    ends = []
    for line in lines:
        colour, dash = _COLOURS[line.style % len(_COLOURS)], _DASHES[(line.style + line.style // len(_COLOURS)) % len(_DASHES)]
        style = f'stroke="{colour}" stroke-dasharray="{dash}"'
        points = [None if y is None else place(float(x), y) for x, y in zip(line.xs, line.ys, strict=True)]
        parts += [_stroke(piece, style) for piece in _pieces(points)]
        last = next((point for point in reversed(points) if point is not None), None)
        if last is not None:
            ends.append((last, line.name, style))
    parts += _labels(ends)
    return "".join([*parts, "</svg>"])


def ticks(low: float, high: float) -> list[float]:
    """About `_TICKS` round numbers from `low` to `high`, both inside: steps of 1, 2 or 5 times a power of ten."""
    step = round_step((high - low) / _TICKS)
    first = math.ceil(low / step - 1e-9)
    return [0.0 if number == 0 else number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _extent(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest, never the same."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high - low > 1e-9 * max(1.0, abs(high)) else (low - 0.5, high + 0.5)


def _pieces(points: Sequence[tuple[float, float] | None]) -> Iterator[list[tuple[float, float]]]:
    """The runs between gaps."""
    piece: list[tuple[float, float]] = []
    for point in (*points, None):
        if point is not None:
            piece.append(point)
        elif piece:
            yield piece
            piece = []


def _stroke(piece: Sequence[tuple[float, float]], style: str) -> str:
    if len(piece) == 1:
        # A line of one point has no length: a round cap makes it seen.
        piece = [piece[0], piece[0]]
    points = " ".join(f"{x},{y}" for x, y in piece)
    return f'<polyline points="{points}" fill="none" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" {style}/>'


def _labels(ends: Sequence[tuple[tuple[float, float], str, str]]) -> list[str]:
    """Names beside the ends of their lines, moved apart where they would lie on each other."""
    parts, lowest = [], 0.0
    for (x, y), name, style in sorted(ends, key=lambda end: end[0][1]):
        lowest = max(y, lowest + _LABEL_HEIGHT)
        shown = escape(name if len(name) <= 16 else f"{name[:15]}…")
        parts.append(f'<line x1="{x + 3}" y1="{y}" x2="{WIDTH - _RIGHT + 12}" y2="{lowest}" stroke-width="1" stroke-opacity=".5" {style}/>')
        parts.append(f'<text x="{WIDTH - _RIGHT + 16}" y="{lowest + 4}">{shown}</text>')
    return parts
