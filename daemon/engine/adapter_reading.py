"""An adapter's file read and checked against a model: diffusers', kohya's and LyCORIS's keys become peft's.

Knows nothing of how adapters are put on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers.utils.state_dict_utils import convert_state_dict_to_diffusers, convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from daemon.models.adapter_files import (
    LORA_WEIGHT,
    LYCORIS_WEIGHT,
    OWN_PEFT_METADATA,
    AdapterKind,
    adapter_kind,
    check_adapter_file,
    has_kohya_keys,
    peft_settings_in,
)
from daemon.models.adapter_keys import COMPONENTS, component_of, kohya_layers
from daemon.models.headers import read_header
from daemon.protocol.errors import NegError

_FROM_KOHYA = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight", "dora_scale": "lora_magnitude_vector"}


@dataclass(frozen=True)
class ComponentAdapter:
    """What a file holds for one part of the pipeline. Names are the part's own, as peft saves them."""

    kind: AdapterKind
    state: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    """peft's configuration, where the file tells it."""
    alphas: dict[str, float] = field(default_factory=dict)
    """By layer, where it tells these instead."""


def read_adapter(path: Path, parts: Mapping[str, Any], layers_per_block: int) -> dict[str, ComponentAdapter]:
    """The adapter of each component that the file changes; `parts`: `unet`, `text_encoder`, `text_encoder_2`.

    Raises `NegError` where it is no adapter, holds numbers that are not finite, or a layer is missing here or has another shape.
    """
    check_adapter_file(path)
    metadata = read_header(path).metadata
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise NegError("corrupt", f"{path} cannot be read: {error}."[:600], "Download or export it again.") from error
    for name, weight in weights.items():
        if not bool(torch.isfinite(weight).all()):
            raise NegError("corrupt", f"{path} holds numbers that are not finite, in {name}.", "Train the adapter again.")
    kind = adapter_kind(weights)
    assert kind is not None
    alphas: dict[str, float] = {}
    if has_kohya_keys(weights):
        names = kohya_layers(layer_names(parts), layers_per_block)
        state, alphas = _from_kohya(path, weights, names)
        metadata = {name: value for name, value in metadata.items() if name == OWN_PEFT_METADATA}
    else:
        state = _from_diffusers(weights, kind)
    settings = peft_settings_in(metadata)
    found = {}
    for component in COMPONENTS:
        own = {name: weight for name, weight in state.items() if component_of(name) == component}
        if own:
            found[component] = _component(path, parts, component, kind, own, settings.get(component, {}), alphas)
    return found


def layer_names(parts: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The layers that adapters may change: component and name -> layer, the text encoders' with `text_model.` in front."""
    found = {}
    for component in COMPONENTS:
        module = parts.get(component)
        for name, layer in module.named_modules() if module is not None else ():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                # Below an adapter's layer lies the module's own.
                own = name.replace(".base_layer", "")
                if not any(f".{weight}" in own for weight in ("lora_A", "lora_B")):
                    found[component_prefix(component, module) + own] = layer
    return found


def _component(
    path: Path,
    parts: Mapping[str, Any],
    component: str,
    kind: AdapterKind,
    state: dict[str, Tensor],
    settings: dict[str, Any],
    alphas: dict[str, float],
) -> ComponentAdapter:
    module = parts.get(component)
    if module is None:
        raise NegError("incompatible", f"{path} changes the {component}, which this model lacks.", "Use it with the model it was made for.")
    _check_fit(path, state, layer_names({component: module}))
    prefix = component_prefix(component, module)
    own_alphas = {layer.removeprefix(prefix): alpha for layer, alpha in alphas.items() if component_of(layer) == component}
    return ComponentAdapter(kind, {name.removeprefix(prefix): weight for name, weight in state.items()}, settings, own_alphas)


def component_prefix(component: str, module: Any) -> str:
    """What stands before a module's own names: transformers' first text encoder has lost its `text_model.`."""
    return f"{component}." if component == "unet" or hasattr(module, "text_model") else f"{component}.text_model."


def _from_diffusers(weights: Mapping[str, Tensor], kind: AdapterKind) -> dict[str, Tensor]:
    """Files of all ages, in peft's names."""
    found: dict[str, Tensor] = {}
    for component in COMPONENTS:
        prefix = f"{component}."
        own = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
        if component == "unet" and not own:
            # The oldest files are of the UNet alone and do not name it.
            own = {name: weight for name, weight in weights.items() if not name.startswith("text_encoder")}
        if own and kind == "lora":
            own = convert_unet_state_dict_to_peft(own) if component == "unet" else _text_encoder_names(own)
        found |= {prefix + _plain(component, name): weight for name, weight in own.items()}
    return found


def _text_encoder_names(own: dict[str, Tensor]) -> dict[str, Tensor]:
    return convert_state_dict_to_peft(convert_state_dict_to_diffusers(own))


def _plain(component: str, name: str) -> str:
    if component != "unet" and not name.startswith(("text_model.", "text_projection.")):
        name = f"text_model.{name}"
    return name.removesuffix(".weight") if name.endswith("lora_magnitude_vector.weight") else name


def _from_kohya(path: Path, weights: Mapping[str, Tensor], names: Mapping[str, str]) -> tuple[dict[str, Tensor], dict[str, float]]:
    state, alphas = {}, {}
    for name, weight in weights.items():
        module, _, suffix = name.partition(".")
        layer = names.get(module)
        if layer is None:
            raise NegError(
                "incompatible", f"{path} does not fit this model: it has no layer {module}.", "Use it with the model it was trained on."
            )
        if suffix == "alpha":
            if weight.numel() != 1:
                raise NegError("corrupt", f"{path} has an alpha of {module} that is no number.", "Download or export it again.")
            alphas[layer] = float(weight)
        else:
            state[f"{layer}.{_FROM_KOHYA.get(suffix, suffix)}"] = _magnitude(path, name, weight) if suffix == "dora_scale" else weight
    return state, alphas


def _magnitude(path: Path, name: str, scale: Tensor) -> Tensor:
    """LyCORIS' (out, 1) or (out, 1, 1, 1) as peft has it: (out,) or (1, out, 1, 1)."""
    if scale.dim() == 1 or scale.shape[0] != scale.numel():
        raise NegError(
            "incompatible", f"{path} has the magnitudes of {name} on the input axis, which peft does not know.", "Merge it elsewhere."
        )
    return scale.flatten() if scale.dim() == 2 else scale.transpose(0, 1)


def _check_fit(path: Path, state: Mapping[str, Tensor], layers: Mapping[str, nn.Module]) -> None:
    for name, weight in state.items():
        lora, lycoris = LORA_WEIGHT.fullmatch(name), LYCORIS_WEIGHT.fullmatch(name)
        if lora is None and lycoris is None and not name.endswith(".lora_magnitude_vector"):
            raise NegError("incompatible", f"{path} holds {name!r}, which is no weight of a LoRA, LoHa or LoKr.")
        layer = layers.get(lycoris["module"] if lycoris else name.split(".lora_")[0])
        if layer is None or (lora is not None and not _fits(weight, layer, _axis(lora["side"]))):
            raise NegError(
                "incompatible",
                f"{path} does not fit this model: {name} is {tuple(weight.shape)}.",
                "Use it with the model it was trained on.",
            )


def _axis(side: str) -> int:
    return 1 if side in ("A", "down") else 0


def _fits(factor: Tensor, layer: nn.Module, axis: int) -> bool:
    """Whether a factor has the layer's size at that side; a convolution's weight has its output and input channels in the same places."""
    assert isinstance(layer.weight, Tensor)
    return factor.dim() > 1 and factor.shape[axis] == layer.weight.shape[axis]
