"""All that a comparison found: what the sheet, the report and the tables are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.comparison.arms import Arm
from daemon.comparison.effects import CellValues
from daemon.comparison.metrics import Values
from daemon.comparison.plan import Block
from daemon.engine.base import ModelIdentity
from daemon.protocol.events import Effect
from daemon.protocol.specs import CompareJob


@dataclass(frozen=True)
class Findings:
    """A finished comparison. Cells are named by (block's index, arm's name)."""

    job: CompareJob
    identity: ModelIdentity
    arms: tuple[Arm, ...]
    blocks: tuple[Block, ...]
    picture_ids: Mapping[tuple[int, str], str]
    values: CellValues
    means: Mapping[str, Mapping[str, float]]
    effects: tuple[Effect, ...]
    verdict: str
    scorers: tuple[str, ...]


def note(values: Values) -> str:
    """What stands under a picture: the figures of quality, where there are any."""
    parts = []
    if "flaw_probability" in values:
        parts.append(f"flaw {values['flaw_probability']:.2f}")
    if "adherence" in values:
        parts.append("as asked" if values["adherence"] == 1 else "not as asked")
    return ", ".join(parts)
