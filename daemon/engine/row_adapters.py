"""Adapters that act on single rows of a batch, by peft's per-sample adapter names: one branch of the guidance, one picture of several.

peft knows one adapter a row. Where several act, or one at a weight of its own, they are stacked: one LoRA of their joined ranks, with the
weights inside, beside the originals. Nothing is merged into the model. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from daemon.engine.adapter_reading import ComponentAdapter
from daemon.engine.guidance import Row

NO_ADAPTER = "__base__"
"""What peft calls the model without adapters."""


class RowAdapters:
    """Which adapter acts on which row, while `attached`."""

    def __init__(self, unet: nn.Module, names: Mapping[Row, str]) -> None:
        """`names` are peft's, or `NO_ADAPTER`."""
        self._unet, self._names = unet, names
        self._chosen: list[str] = []

    def choose(self, rows: Sequence[Row]) -> None:
        """The next call of the UNet has these rows."""
        self._chosen = [self._names[row] for row in rows]

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Every LoRA layer gets the names of the rows with its inputs; layers of other kinds of adapters rest."""
        layers = [layer for layer in self._unet.modules() if isinstance(layer, BaseTunerLayer)]
        with ExitStack() as stack:
            for layer in layers:
                layer.enable_adapters(isinstance(layer, LoraLayer))
                if isinstance(layer, LoraLayer):
                    stack.callback(layer.register_forward_pre_hook(self._with_names, with_kwargs=True).remove)
            yield

    def _with_names(self, layer: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return inputs, {**options, "adapter_names": self._chosen}


@torch.no_grad()
def stacked(module: nn.Module, weights: Mapping[str, float]) -> ComponentAdapter:
    """LoRAs that a module carries, by peft's names, as one: sum of w B A = [B ...] [w A ...]. Equal to them up to rounding."""
    downs: dict[str, list[Tensor]] = {}
    ups: dict[str, list[Tensor]] = {}
    for path, layer in module.named_modules():
        for name in weights if isinstance(layer, LoraLayer) else ():
            if name in layer.lora_A:
                layer.set_scale(name, weights[name])
                own = path.replace(".base_layer", "")
                downs.setdefault(own, []).append(layer.lora_A[name].weight * layer.scaling[name])
                ups.setdefault(own, []).append(layer.lora_B[name].weight)
    state = {f"{own}.lora_A.weight": torch.cat(parts) for own, parts in downs.items()}
    return ComponentAdapter("lora", state | {f"{own}.lora_B.weight": torch.cat(parts, dim=1) for own, parts in ups.items()})
