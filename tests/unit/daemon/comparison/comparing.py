"""A small comparison. No torch."""

from __future__ import annotations

from pathlib import Path

from painting import MODEL

from daemon.files import write_atomic
from daemon.protocol.specs import CompareJob, ComparisonSpec, PromptSpec

ADAPTER = "adapters/wrong/pytorch_lora_weights.safetensors"


def prepare(folder: Path) -> Path:
    """A session folder with a trained adapter."""
    write_atomic(folder / ADAPTER, b"trained weights")
    return folder


def job(num_prompts: int = 4, **changes: object) -> CompareJob:
    """The default three arms on a few prompts at 16 x 16 pixels."""
    prompts = tuple(
        PromptSpec(prompt=f"{'star' if number % 2 else 'square'} number {number}", seed=number) for number in range(num_prompts)
    )
    settings: dict[str, object] = {"prompts": prompts, "width": 16, "height": 16, "scorers": ("toy-probe",)}
    return CompareJob(session="mine", model=MODEL, comparison=ComparisonSpec(**settings | changes))
