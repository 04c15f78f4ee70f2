"""LoRA adapters on a resident UNet: by the sha256 of their file, never fused, inert when not asked for."""

from __future__ import annotations

import re
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor, nn

from daemon.files import sha256_file
from daemon.models.adapter_files import LORA_WEIGHT, check_adapter_file
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest

MAX_RESIDENT = 16

_ALLOWED = (".alpha", ".lora_magnitude_vector", ".dora_scale")


class AdapterShelf:
    """Which adapter files are known, and which adapters each UNet carries (at most `MAX_RESIDENT`, the least recently used goes)."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths
        self._carried: weakref.WeakKeyDictionary[nn.Module, OrderedDict[str, str]] = weakref.WeakKeyDictionary()

    def carried(self, unet: nn.Module) -> tuple[str, ...]:
        """sha256 of the adapters a UNet carries, active or not, least recently used first."""
        return tuple(self._carried.get(unet, ()))

    def activate(self, pipeline: StableDiffusionXLPipeline, wanted: tuple[AdapterRequest, ...]) -> None:
        """Make exactly `wanted` act on the pipeline's UNet; none: the UNet computes what it did before it ever carried one.

        Raises `NegError` for an unknown, changed, or unfitting file; the UNet then carries what it did.
        """
        weights: dict[str, float] = {}
        for request in wanted:
            weights[request.sha256] = weights.get(request.sha256, 0.0) + request.weight
        weights = {sha256: weight for sha256, weight in weights.items() if weight != 0.0}
        carried = self._carried.setdefault(pipeline.unet, OrderedDict())
        if not weights:
            if carried:
                pipeline.unet.disable_lora()
            return
        for sha256 in weights:
            if sha256 not in carried:
                self._carry(pipeline, sha256, carried)
            carried.move_to_end(sha256)
        # After disable_lora, set_adapters alone would leave the adapters off.
        pipeline.unet.enable_lora()
        pipeline.set_adapters([carried[sha256] for sha256 in weights], list(weights.values()))
        self._drop_oldest(pipeline, carried, keep=len(weights))

    def unload_all(self, unet: UNet2DConditionModel) -> None:
        """Give a UNet its own layers back, whoever put adapters on them."""
        if getattr(unet, "peft_config", None) is not None or any(hasattr(module, "base_layer") for module in unet.modules()):
            unet.unload_lora()
        self._carried.pop(unet, None)

    def _carry(self, pipeline: StableDiffusionXLPipeline, sha256: str, carried: OrderedDict[str, str]) -> None:
        path = self._paths.get(sha256)
        if path is None or not path.is_file():
            raise NegError("not_found", f"The adapter {sha256[:12]} is not known here.", "Train it again, or put its file back.")
        if sha256_file(path) != sha256:
            raise NegError("corrupt", f"{path} has changed since the job began.", "Put the file back, or submit the job again.")
        check_adapter(path, pipeline.unet)
        name = f"adapter_{sha256[:16]}"
        try:
            with warnings.catch_warnings():
                # Several adapters on one UNet is what is meant.
                warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
                pipeline.load_lora_weights(
                    str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True, use_safetensors=True
                )
        except (ValueError, RuntimeError, KeyError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            if name in getattr(pipeline.unet, "peft_config", {}):
                pipeline.unet.delete_adapters(name)
            raise NegError("incompatible", f"{path} could not be loaded: {error}"[:600], "Is it a LoRA for SDXL's UNet?") from error
        carried[sha256] = name

    def _drop_oldest(self, pipeline: StableDiffusionXLPipeline, carried: OrderedDict[str, str], keep: int) -> None:
        while len(carried) > max(MAX_RESIDENT, keep):
            _, name = carried.popitem(last=False)
            pipeline.unet.delete_adapters(name)


def check_adapter(path: Path, unet: UNet2DConditionModel) -> None:
    """Every weight belongs to a layer of this UNet, fits its shape and is finite; raises `NegError` otherwise."""
    check_adapter_file(path)
    loaded = StableDiffusionXLPipeline.lora_state_dict(
        str(path.parent), weight_name=path.name, local_files_only=True, use_safetensors=True, unet_config=unet.config
    )
    _check_fit(path, loaded[0], unet)


def _check_fit(path: Path, state: Mapping[str, Tensor], unet: UNet2DConditionModel) -> None:
    layers = {name.replace(".base_layer", ""): module for name, module in unet.named_modules()}
    for name, weight in state.items():
        if not torch.isfinite(weight).all():
            raise NegError("corrupt", f"{path} holds numbers that are not finite, in {name}.", "Train the adapter again.")
        matched = LORA_WEIGHT.fullmatch(name)
        if matched is None:
            if not name.endswith(_ALLOWED) and "magnitude" not in name:
                raise NegError("incompatible", f"{path} holds {name!r}, which is no LoRA weight of a UNet.")
            continue
        layer = layers.get(_layer_name(matched["module"]))
        expected = _expected(layer, matched["side"] in ("A", "down"))
        if expected is None or weight.shape[1 if matched["side"] in ("A", "down") else 0] != expected:
            raise NegError(
                "incompatible",
                f"{path} does not fit this model: {name} is {tuple(weight.shape)}.",
                "Use it with the model it was trained on.",
            )


def _layer_name(module: str) -> str:
    # Files of older diffusers name the attention's processor: attn1.processor.to_q, attn1.processor.to_out.
    return re.sub(r"\.to_out$", ".to_out.0", module.replace(".processor.", "."))


def _expected(layer: Any, inwards: bool) -> int | None:
    base = getattr(layer, "base_layer", layer)
    if isinstance(base, nn.Linear):
        return base.in_features if inwards else base.out_features
    if isinstance(base, nn.Conv2d):
        return base.in_channels if inwards else base.out_channels
    return None
