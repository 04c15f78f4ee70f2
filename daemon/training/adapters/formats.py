"""The files that a training leaves, and the weights of one that it begins from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from daemon.adapters import tensors
from daemon.adapters.formats import from_diffusers, tensors_sha256, to_diffusers, to_kohya
from daemon.adapters.headers import PeftSettings
from daemon.adapters.placing import WEIGHTS_NAME
from daemon.models.adapter_files import check_adapter_file, peft_settings_in
from daemon.models.headers import read_header
from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.export import init_adapter_sha256, weights_name
from daemon.training.adapters.metadata import diffusers_header, kohya_alpha, kohya_header, peft_settings, provenance
from daemon.training.adapters.textual_inversion import from_file as embedding_from_file
from daemon.training.adapters.textual_inversion import to_file as embedding_to_file
from daemon.training.monitoring.metrics import Point
from daemon.training.plan import TrainingPlan

_DECISIVE = ("peft_type", "r", "lora_alpha", "alpha", "use_dora", "use_rslora", "target_modules")


def adapter_files(plan: TrainingPlan, adapter: Any, weights: Mapping[str, Tensor], points: Sequence[Point]) -> dict[str, bytes]:
    """Name -> content of the files that an adapter is saved as.

    `adapter`: an `attach.Adapter`, or a `textual_inversion.LearnedEmbedding` where that is the plan's method; `weights`: by the names of
    its parameters, live ones or others.
    """
    if plan.spec.method == "textual_inversion":
        return {weights_name(plan.spec): embedding_to_file(weights, provenance(plan, points))}
    kohya = to_kohya(weights, plan.spec.rank, kohya_alpha(plan.spec), adapter.layers_per_block)
    header = kohya_header(plan, adapter.settings, points, tensors_sha256(kohya), adapter.prediction_type)
    return {
        WEIGHTS_NAME: tensors.to_bytes(to_diffusers(weights), diffusers_header(plan, adapter.settings, points)),
        f"{plan.spec.output_name}_kohya.safetensors": tensors.to_bytes(kohya, header),
    }


def read_init_adapter(session_path: Path, spec: TrainingSpec) -> dict[str, Tensor] | None:
    """The weights that `spec.init_adapter` names, for `attach.attached` or `attached_embedding`; None where it names none.

    Raises `NegError`: `not_found`, `corrupt`, or `incompatible` where they were trained with another rank, alpha, kind or targets.
    """
    if init_adapter_sha256(session_path, spec) is None:
        return None
    path = session_path / "adapters" / str(spec.init_adapter) / weights_name(spec)
    is_embedding = spec.method == "textual_inversion"
    if not is_embedding:
        check_adapter_file(path)
        _require_same_settings(spec, peft_settings_in(read_header(path).metadata))
    try:
        content = path.read_bytes()
        state = embedding_from_file(content, spec.placeholder_token) if is_embedding else from_diffusers(tensors.from_bytes(content))
    except (OSError, SafetensorError, KeyError) as error:
        raise NegError("corrupt", f"{path} cannot be read: {error}.", "Train it again, or clear init_adapter.") from error
    broken = next((name for name, weight in state.items() if not bool(torch.isfinite(weight).all())), None)
    if broken is not None:
        raise NegError("corrupt", f"{path} holds numbers that are not finite, in {broken}.", "Train it again, or clear init_adapter.")
    return {name: weight.float() for name, weight in state.items()}


def _require_same_settings(spec: TrainingSpec, found: PeftSettings) -> None:
    for component, wanted in peft_settings(spec).items():
        for field in _DECISIVE if component in found else ():
            theirs, ours = (_plain(settings.get(field)) for settings in (found[component], wanted))
            if theirs != ours:
                raise NegError(
                    "incompatible",
                    f"The adapter {spec.init_adapter!r} was trained with {field} = {theirs}, this training has {ours}.",
                    "Give both the same, or clear init_adapter.",
                )


def _plain(value: object) -> object:
    return sorted(str(part) for part in value) if isinstance(value, list | tuple) else value or None
