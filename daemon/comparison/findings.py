"""All that a comparison found: what the sheet, the report and the tables are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.comparison.arms import Arm
from daemon.comparison.effects import CellValues
from daemon.comparison.plan import Block
from daemon.engine.base import ModelIdentity
from daemon.measuring.metrics import Values
from daemon.protocol.diagnosis import Diagnosis
from daemon.protocol.effects import Claim, Effect
from daemon.protocol.specs import CompareJob
from daemon.protocol.voting import VoteResults


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
    """By arm and metric, `diversity` included: that is of an arm, no cell has it."""
    effects: tuple[Effect, ...]
    verdict: str
    scorers: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    """What the original model card claims, each with its effect, interval and verdict; empty where there is one arm."""
    votes: VoteResults | None = None
    """What people preferred, blind, in the rounds that are closed; None where there are none."""
    diagnosis: Diagnosis | None = None
    """Guidance by step and arm, maps and training curves; None unless `comparison.diagnose_blocks` asks for them."""


def note(values: Values) -> str:
    """What stands under a picture: the figures of quality, where there are any."""
    parts = []
    if "flaw_probability" in values:
        parts.append(f"flaw {values['flaw_probability']:.2f}")
    if "adherence" in values:
        parts.append("as asked" if values["adherence"] == 1 else "not as asked")
    return ", ".join(parts)
