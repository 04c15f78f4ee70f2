"""An adapter put on a module with peft, and taken off again: LoRA, DoRA, LoHa and LoKr. Knows nothing of which one acts when."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from diffusers.utils.peft_utils import _create_lokr_config, get_peft_kwargs, recurse_remove_peft_layers
from peft import LoHaConfig, LoKrConfig, LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from daemon.engine.adapter_reading import ComponentAdapter
from daemon.models.adapter_files import AdapterKind
from daemon.protocol.errors import NegError

CONFIGS: dict[AdapterKind, Any] = {"lora": LoraConfig, "loha": LoHaConfig, "lokr": LoKrConfig}


def put_on(path: Path, module: nn.Module, adapter: ComponentAdapter, name: str) -> None:
    """Put it on the module under a name, or leave the module as it was. Raises `NegError` `incompatible`."""
    try:
        config = _config(adapter)
        with warnings.catch_warnings():
            # Several adapters on one module is what is meant.
            warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
            inject_adapter_in_model(config, module, adapter_name=name, low_cpu_mem_usage=True, **_targets(adapter))
        loaded = set_peft_model_state_dict(module, adapter.state, name, low_cpu_mem_usage=True)
        left = [key for key, weight in module.named_parameters() if weight.is_meta]
        if loaded.unexpected_keys or left:
            raise ValueError(f"{[*loaded.unexpected_keys, *left][0]} has no counterpart")
    except (ValueError, RuntimeError, LookupError, TypeError) as error:
        take_off(module, name)
        if isinstance(error, torch.OutOfMemoryError):
            raise
        hint = "Use it with the model it was trained on; adapters for SDXL's UNet and text encoders are meant."
        raise NegError("incompatible", f"{path} does not fit this model: {error}"[:600], hint) from error


def take_off(module: nn.Module, name: str) -> None:
    """Remove one adapter from a module; one that it does not carry is no error."""
    with warnings.catch_warnings():
        # Which one acts is said anew before each use.
        warnings.filterwarnings("ignore", message="Adapter .* was active")
        for layer in module.modules():
            if isinstance(layer, BaseTunerLayer):
                layer.delete_adapter(name)
    configs = getattr(module, "peft_config", {})
    configs.pop(name, None)
    if not configs:
        take_off_all(module)


def take_off_all(module: Any) -> None:
    """Give a module its own layers back, whoever put adapters on them."""
    if any(isinstance(layer, BaseTunerLayer) for layer in module.modules()):
        recurse_remove_peft_layers(module)
    if hasattr(module, "peft_config"):
        del module.peft_config
    if hasattr(module, "_hf_peft_config_loaded"):
        module._hf_peft_config_loaded = False


def _targets(adapter: ComponentAdapter) -> dict[str, Any]:
    # For LoRA peft takes the layers from the weights themselves, as diffusers has it do.
    return {"state_dict": adapter.state} if adapter.kind == "lora" else {}


def _config(adapter: ComponentAdapter) -> Any:
    """peft's configuration: the file's own, or what the shapes tell."""
    if adapter.settings:
        return CONFIGS[adapter.kind](**_fields(adapter))
    if adapter.kind == "lora":
        ranks = {f"^{name}": weight.shape[1] for name, weight in adapter.state.items() if name.endswith(".lora_B.weight")}
        return LoraConfig(**get_peft_kwargs(ranks, adapter.alphas or None, adapter.state))
    if adapter.kind == "loha":
        return _loha_config(adapter)
    return _create_lokr_config(_with_alpha_folded(adapter), None)


def _fields(adapter: ComponentAdapter) -> dict[str, Any]:
    fields = {name: value for name, value in adapter.settings.items() if name != "peft_type"}
    if adapter.kind == "lokr":
        # In kohya's keys the scale of some layers lies in their weights.
        fields["alpha_pattern"] = {f"^{layer}$": alpha for layer, alpha in adapter.alphas.items() if alpha != fields.get("alpha")}
    return fields


def _loha_config(adapter: ComponentAdapter) -> Any:
    ranks = {name.removesuffix(".hada_w1_b"): weight.shape[0] for name, weight in adapter.state.items() if name.endswith(".hada_w1_b")}
    alphas = {layer: adapter.alphas.get(layer, float(rank)) for layer, rank in ranks.items()}
    rank, alpha = (Counter(values.values()).most_common(1)[0][0] for values in (ranks, alphas))
    return LoHaConfig(
        r=rank,
        alpha=alpha,
        target_modules=list(ranks),
        rank_pattern={f"^{layer}$": value for layer, value in ranks.items() if value != rank},
        alpha_pattern={f"^{layer}$": value for layer, value in alphas.items() if value != alpha},
        use_effective_conv2d=any(name.endswith(".hada_t1") for name in adapter.state),
    )


def _with_alpha_folded(adapter: ComponentAdapter) -> dict[str, Tensor]:
    """A LoKr whose scale is in its weights, as diffusers' inference of the configuration has it. Changes the state in place."""
    for layer, alpha in adapter.alphas.items():
        rank = next((adapter.state[name].shape[0] for part in ("w2", "w1") if (name := f"{layer}.lokr_{part}_b") in adapter.state), None)
        first = next((name for part in ("w1", "w1_a") if (name := f"{layer}.lokr_{part}") in adapter.state), None)
        if rank is not None and first is not None:
            adapter.state[first] = adapter.state[first] * (alpha / rank)
    return adapter.state
