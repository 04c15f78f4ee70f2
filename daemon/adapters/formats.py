"""An adapter's weights in the two spellings that the world reads: diffusers' keys and kohya's keys; and read back from the former."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from diffusers.utils import convert_state_dict_to_diffusers
from diffusers.utils.state_dict_utils import StateDictType
from torch import Tensor

from daemon.adapters import tensors
from daemon.models.adapter_files import LYCORIS_WEIGHT
from daemon.models.adapter_keys import COMPONENTS, component_of, kohya_name

_SIDES = {".lora_A.weight": ".lora_down.weight", ".lora_B.weight": ".lora_up.weight", ".lora_magnitude_vector.weight": ".dora_scale"}
_FROM_DIFFUSERS = {
    ".lora.down.": ".lora_A.",
    ".lora.up.": ".lora_B.",
    ".lora_linear_layer.down.": ".lora_A.",
    ".lora_linear_layer.up.": ".lora_B.",
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


def to_kohya(weights: Mapping[str, Tensor], rank: int, alpha: float, layers_per_block: int) -> dict[str, Tensor]:
    """As sd-scripts writes a LoRA of SDXL and LyCORIS its kinds: `lora_unet_....lora_down.weight`, an `.alpha` for every layer.

    `alpha` is what everybody divides by `rank`.
    """
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        layer, suffix = _split(name)
        module = kohya_name(layer, layers_per_block)
        found[module + _SIDES.get(suffix, suffix)] = _output_axis(weight) if "magnitude" in suffix else weight
        found[f"{module}.alpha"] = torch.tensor(alpha, dtype=torch.float32)
    return {name: _unscaled(name, weight, found, rank, alpha) for name, weight in sorted(found.items())}


def tensors_sha256(weights: Mapping[str, Tensor]) -> str:
    """Hash of a file after its header, whatever its metadata: the hash that sd-scripts and A1111 know a LoRA by."""
    content = tensors.to_bytes(weights)
    return hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()


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


def _unscaled(name: str, weight: Tensor, found: Mapping[str, Tensor], rank: int, alpha: float) -> Tensor:
    """LyCORIS knows no alpha where both factors of a LoKr are whole: the scale goes into the first one."""
    module = name.rsplit(".", 1)[0]
    if not (f"{module}.lokr_w1" in found and f"{module}.lokr_w2" in found):
        return weight
    if name.endswith(".alpha"):
        return torch.tensor(float(rank), dtype=torch.float32)
    return weight * (alpha / rank) if name.endswith(".lokr_w1") else weight
