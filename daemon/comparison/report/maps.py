"""The maps of a diagnosis as the page shows them: a row a block and kind, an arm a column."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.comparison.findings import Findings
from daemon.comparison.report.pictures import data_uri
from daemon.protocol.diagnosis import GuidanceMap

MAX_BLOCKS = 4
"""More of them would make the page long; all lie in `diagnosis/`."""


@dataclass(frozen=True)
class ShownMap:
    """One arm's map: `source` is the PNG as a `data:` address."""

    arm: str
    source: str
    mean: float


@dataclass(frozen=True)
class MapRow:
    """All arms of a block on one scale, whose brightest stands for `highest`."""

    title: str
    highest: float
    maps: tuple[ShownMap, ...]


def map_rows(findings: Findings, comparison_path: Path) -> list[MapRow]:
    """Of the first `MAX_BLOCKS` diagnosed blocks; none where there is no diagnosis."""
    if findings.diagnosis is None:
        return []
    blocks = {block.index: block for block in findings.blocks}
    shown = [one for one in findings.diagnosis.maps if one.block in findings.diagnosis.blocks[:MAX_BLOCKS]]
    rows = itertools.groupby(shown, key=lambda one: (one.block, one.kind))
    return [
        _row(f"{kind} in {blocks[index].prompt}, seed {blocks[index].seed}", list(maps), comparison_path) for (index, kind), maps in rows
    ]


def _row(title: str, maps: Sequence[GuidanceMap], comparison_path: Path) -> MapRow:
    return MapRow(title, maps[0].highest, tuple(ShownMap(one.arm, data_uri(comparison_path / one.path), one.mean) for one in maps))
