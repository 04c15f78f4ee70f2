"""What a sweep is asked to try: one arm over a grid of checkpoints, weights, guidance scales and guidance windows."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from daemon.protocol.arms import AdapterUse, AdapterWeight, ArmSpec, Share
from daemon.protocol.errors import NegError
from daemon.protocol.fields import Count, GuidanceScale, Name, Seed, Spec

MAX_CELLS = 256
FINISHED = "final"
"""What a person writes for the finished adapter among checkpoints."""
Checkpoint = Annotated[int, Meta(ge=1, le=1_000_000)]
MetricName = Annotated[str, Meta(min_length=1, max_length=64)]


class SweepSpec(Spec, frozen=True, kw_only=True):
    """Every cell is the arm with one value of each axis, painted on the prompts and seeds of the comparison.

    An empty axis is not swept: the arm's own value counts.
    """

    output_name: Name = "default"
    arm: ArmSpec = ArmSpec(name="target", adapters=(AdapterUse(name="wrong"),), negative_prompt="wrong")
    """What all cells share."""
    adapter: Name | None = None
    """The adapter whose checkpoint and weight change. None: the arm's first."""
    checkpoints: Annotated[tuple[Checkpoint | None, ...], Meta(max_length=64)] = ()
    """Steps at which the training kept its adapter; none: the finished one."""
    weights: Annotated[tuple[AdapterWeight, ...], Meta(max_length=64)] = ()
    guidance_scales: Annotated[tuple[GuidanceScale, ...], Meta(max_length=64)] = ()
    guidance_windows: Annotated[tuple[tuple[Share, Share], ...], Meta(max_length=64)] = ()
    """guidance_start and guidance_end of each."""
    num_prompts: Annotated[int, Meta(ge=0)] | None = None
    """Only the first so many prompts, 0: all. None: as in the comparison."""
    seeds: Annotated[tuple[Seed, ...], Meta(max_length=10_000)] = ()
    """Empty: those of the comparison."""
    metric: MetricName | None = None
    """What decides between cells. None: the first measure of quality that there is."""
    racing: bool = True
    """Cells that clearly lose stop before all blocks are painted."""
    first_look: Count = 16
    """Cells are held against each other after so many blocks, and whenever these have doubled."""
    error_rate: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.05
    """At most so probably does the truly best cell stop anywhere in the race."""


def swept_adapter(spec: SweepSpec) -> str | None:
    """The adapter whose checkpoint and weight change; None where the arm has none."""
    names = [use.name for use in spec.arm.adapters]
    return spec.adapter if spec.adapter is not None else next(iter(names), None)


def num_cells(spec: SweepSpec) -> int:
    """How many cells the grid has."""
    product = 1
    for axis in (spec.checkpoints, spec.weights, spec.guidance_scales, spec.guidance_windows):
        product *= max(1, len(axis))
    return product


def require_sound_sweep(spec: SweepSpec) -> None:
    """Raise `NegError` `invalid` for wishes that contradict each other."""
    for name in ("checkpoints", "weights", "guidance_scales", "guidance_windows", "seeds"):
        values = getattr(spec, name)
        if len(set(values)) < len(values):
            raise NegError("invalid", f"sweep.{name} holds a value twice.", "Name each value once.")
    if num_cells(spec) > MAX_CELLS:
        raise NegError("invalid", f"The sweep has {num_cells(spec)} cells, at most {MAX_CELLS} are painted.", "Take fewer values.")
    if num_cells(spec) < 2:
        raise NegError("invalid", "The sweep has one cell only.", "Give an axis several values, as weights = [0.5, 1.0].")
    for start, end in spec.guidance_windows:
        if start >= end:
            raise NegError("invalid", f"The guidance window {start:g} to {end:g} is empty.", "Its start must lie before its end.")
    _require_adapter(spec)
    names = [arm.name for arm in cell_arms(spec)]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise NegError("invalid", f"The sweep has two cells called {repeated!r}.", "Choose values that differ in their first six digits.")


def _require_adapter(spec: SweepSpec) -> None:
    if not spec.checkpoints and not spec.weights and spec.adapter is None:
        return
    name = swept_adapter(spec)
    use = next((use for use in spec.arm.adapters if use.name == name), None)
    if use is None:
        what = "no adapter" if name is None else f"no adapter {name!r}"
        raise NegError("invalid", f"The sweep's arm has {what} to change.", "Name one in sweep.arm.adapters.")
    if spec.weights and use.positive_weight is not None and use.negative_weight is not None:
        message = f"The weights of {name!r} are set for both branches, so sweep.weights would change nothing."
        raise NegError("invalid", message, "Leave positive_weight or negative_weight of the adapter out.")


def cell_arms(spec: SweepSpec) -> tuple[ArmSpec, ...]:
    """The arm of every cell, checkpoints outermost and windows innermost, named by what changes: `s500-w0.7-g5-t0-0.8`."""
    arms = []
    for checkpoint in spec.checkpoints or ("",):
        for weight in spec.weights or ("",):
            for scale in spec.guidance_scales or ("",):
                for window in spec.guidance_windows or ("",):
                    arms.append(_cell(spec, checkpoint, weight, scale, window))
    return tuple(arms)


def _cell(
    spec: SweepSpec, checkpoint: int | str | None, weight: float | str, scale: float | str, window: tuple[float, float] | str
) -> ArmSpec:
    """`""` is an axis that is not swept."""
    arm, name, parts = spec.arm, swept_adapter(spec), []
    changes: dict[str, object] = {}
    if not isinstance(checkpoint, str):
        changes["checkpoint"] = checkpoint
        parts.append(FINISHED if checkpoint is None else f"s{checkpoint}")
    if not isinstance(weight, str):
        changes["weight"] = weight
        parts.append(f"w{weight:g}")
    if changes:
        uses = tuple(msgspec.structs.replace(use, **changes) if use.name == name else use for use in arm.adapters)
        arm = msgspec.structs.replace(arm, adapters=uses)
    if not isinstance(scale, str):
        arm = msgspec.structs.replace(arm, guidance_scale=scale)
        parts.append(f"g{scale:g}")
    if not isinstance(window, str):
        arm = msgspec.structs.replace(arm, guidance_start=window[0], guidance_end=window[1])
        parts.append(f"t{window[0]:g}-{window[1]:g}")
    return msgspec.structs.replace(arm, name="-".join(parts))
