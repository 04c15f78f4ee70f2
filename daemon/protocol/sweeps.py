"""What came of a sweep: a row a cell. As `summary.json` on disk and as a client is answered."""

from __future__ import annotations

from typing import Literal

import msgspec


class SweepCell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the grid: its values on the axes, how long it raced, what was measured."""

    name: str
    values: dict[str, str]
    """By axis, in words: `{"weight": "0.7", "guidance_scale": "5"}`."""
    num_blocks: int
    means: dict[str, float]
    """Of every metric over its blocks."""
    difference: float | None = None
    """To the best cell on the deciding metric, over the blocks that both have, with its interval; None for the best cell itself."""
    low: float | None = None
    high: float | None = None
    verdict: Literal["best", "worse", "unclear"] = "unclear"
    stopped: str = ""
    """Why it stopped early, in words: `stopped after 64 blocks: ...`."""


class SweepTable(msgspec.Struct, frozen=True, kw_only=True):
    """A whole sweep."""

    name: str
    metric: str
    better: Literal["higher", "lower"]
    axes: tuple[str, ...]
    cells: tuple[SweepCell, ...]
    num_blocks: int
    num_pictures: int
    num_spared: int
    """Pictures that cells which stopped did not need."""
    num_looks: int
    confidence: float
    verdict: str
    sheet_paths: tuple[str, ...] = ()
    """Relative to the sweep's folder."""
