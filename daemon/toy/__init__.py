"""The embedded toy model: SDXL's own architecture made small, trained on a small drawn world. Torch-free constants."""

from __future__ import annotations

from pathlib import Path

WEIGHTS_PATH: Path = Path(__file__).resolve().parent / "weights"
BASE_PATH: Path = WEIGHTS_PATH / "base"
REFINER_PATH: Path = WEIGHTS_PATH / "refiner"
PROBE_PATH: Path = WEIGHTS_PATH / "probe"

SIZE = 64
"""Height and width of its pictures, in pixels."""

NUM_INFERENCE_STEPS = 25
"""Euler steps of base and refiner together: at the split below, 20 + 5."""

GUIDANCE_SCALE = 3.0
"""Classifier-free guidance of the default pictures."""

DENOISING_SPLIT = 0.8
"""Share of the noise schedule the base removes before the refiner takes over."""
