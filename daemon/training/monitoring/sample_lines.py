"""What is written down of sample pictures, and what follows from it: where they lie, which belong to a step, whether they got better.

Free of torch, so that a training that is done is told of without loading anything. Knows nothing of how they are painted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from daemon.protocol.events import SamplePicture, SamplesSaved
from daemon.protocol.specs import ImageRequest

ArmName = Literal["baseline", "placebo", "target"]
ARMS: tuple[ArmName, ...] = ("baseline", "placebo", "target")
LINES_NAME = "samples.jsonl"


class SampleLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `samples.jsonl`: all that decides a sample picture, and what came of it. The last line of a path counts."""

    path: str
    step: int
    arm: ArmName
    weights_sha256: str
    """Of the adapter's weights; empty where it was off."""
    request: ImageRequest
    sha256: str
    values: dict[str, float] = {}


@dataclass(frozen=True)
class Place:
    """Where samples go: below `session_path`, in `samples/<run>/`."""

    session_path: Path
    run: str

    @property
    def lines_path(self) -> Path:
        return self.session_path / "samples" / self.run / LINES_NAME

    def folder(self, step: int) -> Path:
        return self.session_path / "samples" / self.run / f"step-{step:06d}"


def read_lines(path: Path) -> dict[str, SampleLine]:
    """The lines of `samples.jsonl` by picture; those that are torn or of another kind are left out."""
    lines: dict[str, SampleLine] = {}
    for raw in path.read_bytes().split(b"\n") if path.is_file() else ():
        try:
            line = msgspec.json.decode(raw, type=SampleLine)
        except (msgspec.MsgspecError, ValueError):
            continue
        lines[line.path] = line
    return lines


def saved_samples(place: Place, job_id: str, session: str) -> list[SamplesSaved]:
    """What was told of a run's samples, once more, step by step: each step's target beside baseline and placebo."""
    lines = sorted(read_lines(place.lines_path).values(), key=lambda line: (Path(line.path).stem.rpartition("-")[2], ARMS.index(line.arm)))
    steps = sorted({line.step for line in lines})
    return [
        samples_event([line for line in lines if line.step == step or line.arm != "target"], place, step, job_id, session) for step in steps
    ]


def samples_event(lines: Sequence[SampleLine], place: Place, step: int, job_id: str, session: str) -> SamplesSaved:
    """The event of a step with these pictures, in this order."""
    return SamplesSaved(job_id=job_id, session=session, run=place.run, step=step, pictures=tuple(_picture(line) for line in lines))


def sampled_values(saved: SamplesSaved) -> dict[str, float]:
    """`sampled_gain` and `sampled_adherence` of scored samples, else nothing.

    The gain is how much less flawed the target's pictures are than those of the better of baseline and placebo: the difference of the mean
    flaw probabilities over the prompts. Adherence is the share of the target's pictures that show all that their prompts ask for.
    """
    flaws = {arm: _means(saved, arm, "flaw_probability") for arm in ARMS}
    if not all(flaws.values()):
        return {}
    mean = {arm: sum(found) / len(found) for arm, found in flaws.items()}
    values = {"sampled_gain": min(mean["baseline"], mean["placebo"]) - mean["target"]}
    adherence = _means(saved, "target", "adherence")
    return values | ({"sampled_adherence": sum(adherence) / len(adherence)} if adherence else {})


def _means(saved: SamplesSaved, arm: str, name: str) -> list[float]:
    return [picture.values[name] for picture in saved.pictures if picture.arm == arm and name in picture.values]


def _picture(line: SampleLine) -> SamplePicture:
    return SamplePicture(
        arm=line.arm,
        prompt=line.request.prompt,
        negative_prompt=line.request.negative_prompt,
        seed=line.request.seed,
        path=line.path,
        sha256=line.sha256,
        values=line.values,
    )
