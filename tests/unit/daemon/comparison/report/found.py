"""Findings made up: three arms, two blocks, a few effects. No picture was painted."""

from __future__ import annotations

from comparing import job
from painting import IDENTITY

from daemon.comparison.arms import Arm
from daemon.comparison.findings import Findings
from daemon.comparison.plan import Block
from daemon.protocol.effects import Effect
from daemon.protocol.specs import AdapterRequest

BLOCKS = (Block(0, "a star", 1), Block(1, "a | pipe\n# and *stars*", 2))
ARMS = (
    Arm("baseline", (), None, "no negative prompt"),
    Arm("placebo", (), "wrong", 'negative "wrong"'),
    Arm("target", (AdapterRequest(sha256="ab" * 32, weight=1.0),), "wrong", 'LoRA wrong, negative "wrong"'),
)


def effect(metric: str, against: str, better: str, verdict: str = "unclear", arm: str = "target") -> Effect:
    """A difference of -0.2 within -0.3 to -0.1."""
    return Effect(
        metric=metric,
        arm=arm,
        against=against,
        mean=0.1,
        mean_against=0.3,
        difference=-0.2,
        low=-0.3,
        high=-0.1,
        confidence=0.95,
        num_blocks=2,
        better=better,  # type: ignore[arg-type]
        verdict=verdict,  # type: ignore[arg-type]
    )


EFFECTS = tuple(
    effect(metric, against, better, "better" if metric == "flaw_probability" else "unclear")
    for metric, better in (("flaw_probability", "lower"), ("adherence", "higher"), ("contrast", "neither"))
    for against in ("baseline", "placebo")
)


def findings() -> Findings:
    """Fresh ones; change them with `dataclasses.replace`."""
    cells = [(block.index, arm.name) for block in BLOCKS for arm in ARMS]
    values = {cell: {"flaw_probability": 0.1, "adherence": 1.0, "contrast": 0.2} for cell in cells}
    return Findings(
        job=job(2),
        identity=IDENTITY,
        arms=ARMS,
        blocks=BLOCKS,
        picture_ids={cell: f"id{number}" for number, cell in enumerate(cells)},
        values=values,
        means={arm.name: {"flaw_probability": 0.1, "contrast": 0.2} for arm in ARMS},
        effects=EFFECTS,
        verdict="On flaw_probability, target beats placebo.",
        scorers=("plain-1",),
    )
