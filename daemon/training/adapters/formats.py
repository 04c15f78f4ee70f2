"""An adapter's weights in the two spellings that the world reads: diffusers' keys and kohya's keys; and read back from the former."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import convert_state_dict_to_diffusers
from diffusers.utils.state_dict_utils import StateDictType
from safetensors import SafetensorError
from torch import Tensor

from daemon.models.adapter_files import LYCORIS_WEIGHT, check_adapter_file, peft_settings_in
from daemon.models.adapter_keys import COMPONENTS, component_of, kohya_name
from daemon.models.headers import read_header
from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training import tensors
from daemon.training.adapters.export import WEIGHTS_NAME, init_adapter_sha256, weights_name
from daemon.training.adapters.metadata import PeftSettings, diffusers_header, kohya_alpha, kohya_header, peft_settings, provenance
from daemon.training.adapters.textual_inversion import from_file as embedding_from_file
from daemon.training.adapters.textual_inversion import to_file as embedding_to_file
from daemon.training.monitoring.metrics import Point
from daemon.training.plan import TrainingPlan

_SIDES = {".lora_A.weight": ".lora_down.weight", ".lora_B.weight": ".lora_up.weight", ".lora_magnitude_vector.weight": ".dora_scale"}
_FROM_DIFFUSERS = {
    ".lora.down.": ".lora_A.",
    ".lora.up.": ".lora_B.",
    ".lora_linear_layer.down.": ".lora_A.",
    ".lora_linear_layer.up.": ".lora_B.",
}
_DECISIVE = ("peft_type", "r", "lora_alpha", "alpha", "use_dora", "use_rslora", "target_modules")


def adapter_files(plan: TrainingPlan, adapter: Any, weights: Mapping[str, Tensor], points: Sequence[Point]) -> dict[str, bytes]:
    """Name -> content of the files that an adapter is saved as.

    `adapter`: an `attach.Adapter`, or a `textual_inversion.LearnedEmbedding` where that is the plan's method; `weights`: by the names of
    its parameters, live ones or others.
    """
    if plan.spec.method == "textual_inversion":
        return {weights_name(plan.spec): embedding_to_file(weights, provenance(plan, points))}
    kohya = to_kohya(weights, plan.spec, adapter.layers_per_block)
    header = kohya_header(plan, adapter.settings, points, _tensors_sha256(kohya), adapter.prediction_type)
    return {
        WEIGHTS_NAME: tensors.to_bytes(to_diffusers(weights), diffusers_header(plan, adapter.settings, points)),
        f"{plan.spec.output_name}_kohya.safetensors": tensors.to_bytes(kohya, header),
    }


def to_diffusers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As diffusers' training scripts save them: component, layer, `lora.down.weight`; more than attention as its `save_lora_adapter` does.

    Its scripts' converter knows the attention's layers alone, and its loader leaves a UNet half read that has both spellings. Of DoRA's
    magnitudes diffusers reads the UNet's without `.weight`, transformers the text encoders' with it.
    """
    found: dict[str, Tensor] = {}
    for component in COMPONENTS:
        own = {_in_file(name): weight for name, weight in weights.items() if component_of(name) == component}
        is_lora = any(".lora_A." in name for name in own)
        converted = convert_state_dict_to_diffusers(own, original_type=StateDictType.PEFT) if is_lora else own
        found |= own if any(".lora_A." in name for name in converted) else converted
    return found


def from_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`to_diffusers` read backwards."""
    return {_in_training(name): weight for name, weight in state.items()}


def to_kohya(weights: Mapping[str, Tensor], spec: TrainingSpec, layers_per_block: int) -> dict[str, Tensor]:
    """As sd-scripts writes a LoRA of SDXL and LyCORIS its kinds: `lora_unet_....lora_down.weight`, an `.alpha` for every layer."""
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        layer, suffix = _split(name)
        module = kohya_name(layer, layers_per_block)
        found[module + _SIDES.get(suffix, suffix)] = _output_axis(weight) if "magnitude" in suffix else weight
        found[f"{module}.alpha"] = torch.tensor(kohya_alpha(spec), dtype=torch.float32)
    return {name: _unscaled(name, weight, found, spec) for name, weight in sorted(found.items())}


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


def _tensors_sha256(weights: Mapping[str, Tensor]) -> str:
    """Hash of a file after its header, whatever its metadata: the hash that sd-scripts and A1111 know a LoRA by."""
    content = tensors.to_bytes(weights)
    return hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()


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


def _in_file(name: str) -> str:
    return name.removesuffix(".weight") if name.startswith("unet.") and "lora_magnitude_vector" in name else name


def _in_training(name: str) -> str:
    for old, new in _FROM_DIFFUSERS.items():
        name = name.replace(old, new)
    return f"{name}.weight" if name.endswith("lora_magnitude_vector") else name


def _split(name: str) -> tuple[str, str]:
    """A weight's name -> its layer, and what follows."""
    lycoris = LYCORIS_WEIGHT.fullmatch(name)
    layer = lycoris["module"] if lycoris else name.split(".lora_")[0]
    return layer, name.removeprefix(layer)


def _output_axis(magnitude: Tensor) -> Tensor:
    """peft's magnitude, (out,) or (1, out, 1, 1), as LyCORIS keeps it: (out, 1) or (out, 1, 1, 1)."""
    return magnitude.view(-1, 1) if magnitude.dim() == 1 else magnitude.transpose(0, 1).contiguous()


def _unscaled(name: str, weight: Tensor, found: Mapping[str, Tensor], spec: TrainingSpec) -> Tensor:
    """LyCORIS knows no alpha where both factors of a LoKr are whole: the scale goes into the first one."""
    module = name.rsplit(".", 1)[0]
    if not (f"{module}.lokr_w1" in found and f"{module}.lokr_w2" in found):
        return weight
    if name.endswith(".alpha"):
        return torch.tensor(float(spec.rank), dtype=torch.float32)
    return weight * (kohya_alpha(spec) / spec.rank) if name.endswith(".lokr_w1") else weight
