"""Why an arm paints what it paints: its guidance step by step, where its pictures part from the baseline's, how its adapter was trained.

Norms are root mean squares over a prediction's numbers, in the model's own output (epsilon for SDXL, v for the toy), so that sizes of
pictures do not matter. P and N are the predictions for prompt and negative prompt as they were painted with; P0 and N0 are those for
the same latents, words and timestep with every adapter off. Guidance is P - N: the picture follows N + guidance_scale (P - N).
"""

from __future__ import annotations

from typing import Literal

import msgspec

CURVES: dict[str, str] = {
    "positive_norm": "size of P",
    "negative_norm": "size of N",
    "guidance_norm": "size of the guidance P - N",
    "cosine_positive_negative": "cosine of P and N",
    "adapter_positive_norm": "size of what the adapter changes in P: P - P0",
    "adapter_negative_norm": "size of what the adapter changes in N: N - N0",
    "cosine_positive_plain": "cosine of P and P0, the same without the adapter",
    "cosine_negative_plain": "cosine of N and N0, the same without the adapter",
    "cosine_guidance_plain": "cosine of P - N and P0 - N0, the guidance without the adapter",
    "cosine_guidance_baseline": "cosine of P - N and the baseline's at the same step; from the second step on, of latents that have parted",
}
"""Every curve, and what it is."""


class ArmGuidance(msgspec.Struct, frozen=True, kw_only=True):
    """One arm's base model, step by step; means over the diagnosed blocks. The refiner is not looked at: no adapter acts on it."""

    arm: str
    timesteps: tuple[float, ...]
    """As the scheduler counts them: from noise (about 1000) to picture (0)."""
    curves: dict[str, tuple[float | None, ...]]
    """A value a timestep, by the names of `CURVES`; None at steps without guidance. Curves that the arm cannot have are left out."""


class GuidanceMap(msgspec.Struct, frozen=True, kw_only=True):
    """A map as a PNG, dark to bright: 0 to `highest`, the same for all arms of its block."""

    block: int
    arm: str
    kind: Literal["guidance", "difference"]
    """`guidance`: size of P - N over channels, summed over steps, a pixel a latent. `difference`: of the picture from the baseline's,
    mean of the absolute difference over channels, in 0..255."""
    path: str
    """Relative to the comparison's folder."""
    highest: float
    mean: float


class TrainingCurves(msgspec.Struct, frozen=True, kw_only=True):
    """How an adapter of the arms was trained: what it moved for its own prompt, and what for ordinary ones (`daemon.training`)."""

    adapter: str
    steps: tuple[int, ...]
    separation: tuple[float, ...]
    leak: tuple[float, ...]


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """`diagnosis.json`: of the first blocks of a comparison."""

    blocks: tuple[int, ...]
    """Their indices."""
    arms: tuple[ArmGuidance, ...]
    maps: tuple[GuidanceMap, ...] = ()
    trainings: tuple[TrainingCurves, ...] = ()
    largest_pixel_difference: int = 0
    """Of the pictures painted while looking from those of the comparison, in 0..255; 0: they are the very same."""
