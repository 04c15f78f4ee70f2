"""A row of numbers as a row of blocks, and a share as a bar. Pure text."""

from __future__ import annotations

from collections.abc import Sequence

BLOCKS = " ▁▂▃▄▅▆▇█"


def spark(values: Sequence[float | None], width: int, low: float, high: float) -> str:
    """The last `width` values as blocks between `low` and `high`; None, what is not known, is a dot."""
    span = high - low if high > low else 1.0
    return "".join("." if value is None else BLOCKS[_level((value - low) / span)] for value in values[-width:])


def bar(share: float | None, width: int) -> str:
    """`[████    ]  50 %` in `width` cells; `n/a` where the share is not known."""
    if share is None:
        return "n/a"
    inner = max(1, width - 8)
    filled = round(min(1.0, max(0.0, share)) * inner)
    return f"[{'█' * filled}{' ' * (inner - filled)}] {round(100 * share):3d} %"


def _level(share: float) -> int:
    """1..8: also the lowest reading is seen."""
    return 1 + min(7, max(0, int(share * 8)))
