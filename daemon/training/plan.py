"""What a training is before anything is computed: its images, its fingerprint, its places in the session folder. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon.engine.base import ModelIdentity
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.specs import TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.data.dataset import Dataset

RECIPE_VERSION = 1
"""Raised by every change that gives other weights for the same spec and images."""


@dataclass(frozen=True)
class TrainingPlan:
    """One training run. Equal fingerprints mean equal weights (same torch, same kind of device)."""

    job: TrainJob
    job_id: str
    session_path: Path
    dataset: Dataset
    identity: ModelIdentity
    fingerprint: str

    @property
    def spec(self) -> TrainingSpec:
        return self.job.training

    @property
    def adapter_path(self) -> Path:
        return self.session_path / "adapters" / self.spec.output_name

    @property
    def checkpoints_path(self) -> Path:
        return self.session_path / "checkpoints" / self._run_name

    @property
    def metrics_path(self) -> Path:
        return self.session_path / "metrics" / f"{self._run_name}.jsonl"

    @property
    def latents_path(self) -> Path:
        return self.session_path / "cache" / "latents"

    @property
    def _run_name(self) -> str:
        return f"{self.spec.output_name}-{self.fingerprint[:8]}"

    def relative(self, path: Path) -> str:
        """A path of the session as events name it."""
        return path.relative_to(self.session_path).as_posix()


def decisive_settings(spec: TrainingSpec) -> dict[str, object]:
    """The settings that decide the weights: not the name, nor how often a checkpoint is written; alpha spelt out."""
    settings = msgspec.to_builtins(spec)
    for name in ("output_name", "checkpointing_steps"):
        del settings[name]
    return settings | {"lora_alpha": lora_alpha(spec)}


def lora_alpha(spec: TrainingSpec) -> float:
    """alpha as peft wants it: `rank` unless the spec says otherwise."""
    return float(spec.rank if spec.lora_alpha is None else spec.lora_alpha)


def fingerprint(spec: TrainingSpec, dataset_sha256: str, identity: ModelIdentity) -> str:
    """Hash of all that decides the weights: settings, images, base model, VAE and precision; the refiner has no part in it."""
    return canonical_sha256(
        {
            "recipe": RECIPE_VERSION,
            "settings": decisive_settings(spec),
            "dataset": dataset_sha256,
            "base": identity.base_sha256,
            "vae": identity.vae_sha256,
            "torch_dtype": identity.torch_dtype,
        }
    )
