"""What a training is before anything is computed: its images, its fingerprint, its places in the session folder. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from daemon.engine.base import ModelIdentity
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.specs import TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.data.dataset import Dataset

RECIPE_VERSION = 2
"""Raised by every change that gives other weights for the same spec and images."""

_NOT_DECISIVE = (
    "output_name",
    "instance_data_dir",
    "class_data_dir",
    "init_adapter",
    "num_processes",
    "checkpointing_steps",
    "export_steps",
    "report_to",
)
"""Names, places (the hashes of what lies there decide), what decides the last bits (`checkpoint.environment`), what is only written."""
_DECISIVE_IF_STOPPING = (
    "validation_steps",
    "early_stopping_patience",
    "sample_steps",
    "sample_prompts",
    "sample_seed",
    "sample_num_inference_steps",
    "sample_guidance_scale",
)
"""What is measured decides when a run ends, where it may end early; else it is only watched."""
_ENDLESS_SCHEDULES = ("constant", "constant_with_warmup")
"""Their rate at a step does not depend on how many follow."""


@dataclass(frozen=True)
class TrainingPlan:
    """One training run. Equal fingerprints mean equal weights (same torch, same kind of device)."""

    job: TrainJob
    job_id: str
    session_path: Path
    dataset: Dataset
    identity: ModelIdentity
    fingerprint: str
    init_sha256: str | None = None
    """Of the file of `init_adapter`."""

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
    def exported_path(self) -> Path:
        """Where the adapters of earlier steps wait for the finished one."""
        return self.checkpoints_path / "exported"

    @property
    def metrics_path(self) -> Path:
        return self.session_path / "metrics" / f"{self._run_name}.jsonl"

    @property
    def decisive(self) -> dict[str, object]:
        """What `fingerprint` is the hash of."""
        return decisive(self.spec, self.dataset.sha256, self.identity, self.init_sha256)

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
    """The settings that decide the weights: no names or places, nor what is only watched; alpha and the text encoders' rate spelt out."""
    undecisive = {*_NOT_DECISIVE, *(() if spec.early_stopping else _DECISIVE_IF_STOPPING)}
    settings = msgspec.to_builtins(spec)
    kept = {name: value for name, value in settings.items() if name not in undecisive}
    text_encoder_lr = spec.learning_rate if spec.text_encoder_lr is None else spec.text_encoder_lr
    return kept | {"lora_alpha": lora_alpha(spec), "text_encoder_lr": text_encoder_lr}


def lora_alpha(spec: TrainingSpec) -> float:
    """alpha as peft wants it: `rank` unless the spec says otherwise."""
    return float(spec.rank if spec.lora_alpha is None else spec.lora_alpha)


def decisive(spec: TrainingSpec, dataset_sha256: str, identity: ModelIdentity, init_sha256: str | None = None) -> dict[str, object]:
    """All that decides the weights: settings, images, what it begins from, base model, VAE and precision; the refiner has no part in it."""
    return {
        "recipe": RECIPE_VERSION,
        "settings": decisive_settings(spec),
        "dataset": dataset_sha256,
        "init": init_sha256,
        "base": identity.base_sha256,
        "vae": identity.vae_sha256,
        "torch_dtype": identity.torch_dtype,
    }


def fingerprint(spec: TrainingSpec, dataset_sha256: str, identity: ModelIdentity, init_sha256: str | None = None) -> str:
    """Hash of all that decides the weights."""
    return canonical_sha256(decisive(spec, dataset_sha256, identity, init_sha256))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What decides otherwise in `now` than in `before` (two `decisive`s, or one read from JSON), by setting: its two values."""
    old, new = ({**found, **found.get("settings", {})} for found in (before, now))
    names = [name for name in sorted(old.keys() | new.keys()) if name != "settings"]
    pairs = {name: (old.get(name), new.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if canonical_sha256(pair[0]) != canonical_sha256(pair[1])}


def goes_on(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the steps of a run `before` are, bit for bit, the first ones of `now`: nothing differs but how many there are.

    Not with early stopping: a run's last measurement is one that a longer run does not make.
    """
    settings = now.get("settings", {})
    is_endless = settings.get("lr_scheduler") in _ENDLESS_SCHEDULES and not settings.get("early_stopping")
    return is_endless and differences(before, now).keys() <= {"max_train_steps"}
