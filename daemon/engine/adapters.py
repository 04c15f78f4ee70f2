"""Adapters on a resident base: by the sha256 of their file, on the UNet and the text encoders, never fused, inert when not asked for."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffusers.utils.peft_utils import set_adapter_layers, set_weights_and_activate_adapters
from torch import nn

from daemon.engine.adapter_loading import put_on, take_off, take_off_all
from daemon.engine.adapter_reading import read_adapter
from daemon.files import sha256_file
from daemon.models.adapter_keys import COMPONENTS
from daemon.protocol.errors import NegError
from daemon.protocol.events import ResidentPart
from daemon.protocol.specs import AdapterRequest

MAX_RESIDENT = 16

ActingOnText = tuple[tuple[str, float], ...]
"""sha256 and weight of the adapters that change what the text encoders say."""


class AdapterShelf:
    """Which adapter files are known, and which adapters each module carries (at most `MAX_RESIDENT`, the least recently used goes)."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths
        self._components: dict[str, tuple[str, ...]] = {}
        self._num_bytes: dict[tuple[str, str], int] = {}
        self._carried: weakref.WeakKeyDictionary[nn.Module, OrderedDict[str, str]] = weakref.WeakKeyDictionary()

    def carried(self, module: nn.Module) -> tuple[str, ...]:
        """sha256 of the adapters a module carries, active or not, least recently used first."""
        return tuple(self._carried.get(module, ()))

    def activate(self, pipeline: Any, wanted: tuple[AdapterRequest, ...]) -> ActingOnText:
        """Make exactly `wanted` act on the pipeline's UNet and text encoders; none: they compute what they did before any came.

        Returns which of them act on the text encoders: embeddings differ by these. Raises `NegError` for an unknown, changed, or
        unfitting file; the modules then carry what they did.
        """
        weights: dict[str, float] = {}
        for request in wanted:
            weights[request.sha256] = weights.get(request.sha256, 0.0) + request.weight
        weights = {sha256: weight for sha256, weight in weights.items() if weight != 0.0}
        modules = {name: module for name in COMPONENTS if (module := getattr(pipeline, name, None)) is not None}
        for sha256 in weights:
            self._load(modules, sha256)
        for name, module in modules.items():
            self._switch(module, {sha256: weight for sha256, weight in weights.items() if name in self._components[sha256]})
        return tuple((sha256, weight) for sha256, weight in weights.items() if self._components[sha256] != ("unet",))

    def told(self, modules: Iterable[nn.Module]) -> list[ResidentPart]:
        """The adapters that modules carry, as people see them; for any thread."""
        sizes: dict[tuple[str, str], int] = {}
        for module in modules:
            for sha256 in self.carried(module):
                place = (sha256, next(module.parameters()).device.type)
                sizes[place] = sizes.get(place, 0) + self._num_bytes.get((sha256, type(module).__name__), 0)
        names = {sha256: path.parent.name for sha256, path in list(self._paths.items())}
        return [
            ResidentPart(name=names.get(sha256, sha256[:12]), kind="adapter", num_bytes=size, device=device)
            for (sha256, device), size in sizes.items()
        ]

    def unload_all(self, *modules: nn.Module) -> None:
        """Give modules their own layers back, whoever put adapters on them."""
        for module in modules:
            take_off_all(module)
            self._carried.pop(module, None)

    def _load(self, modules: Mapping[str, nn.Module], sha256: str) -> None:
        """Put an adapter on every module that it changes and that does not carry it yet, or on none."""
        known = self._components.get(sha256)
        if known is not None and all(sha256 in self.carried(modules[name]) for name in known if name in modules):
            return
        path = self._paths.get(sha256)
        if path is None or not path.is_file():
            raise NegError("not_found", f"The adapter {sha256[:12]} is not known here.", "Train it again, or put its file back.")
        if sha256_file(path) != sha256:
            raise NegError("corrupt", f"{path} has changed since the job began.", "Put the file back, or submit the job again.")
        adapters = read_adapter(path, modules, modules["unet"].config.layers_per_block)
        name, done = f"adapter_{sha256[:16]}", []
        try:
            for component, adapter in adapters.items():
                if sha256 in self.carried(modules[component]):
                    continue
                done.append(modules[component])
                put_on(path, modules[component], adapter, name)
        except BaseException:
            for module in done:
                take_off(module, name)
            raise
        for module in done:
            self._carried.setdefault(module, OrderedDict())[sha256] = name
            self._num_bytes[sha256, type(module).__name__] = adapter_bytes(module, name)
        self._components[sha256] = tuple(adapters)

    def _switch(self, module: nn.Module, weights: Mapping[str, float]) -> None:
        carried = self._carried.get(module)
        if not carried:
            return
        set_adapter_layers(module, enabled=bool(weights))
        if not weights:
            return
        for sha256 in weights:
            carried.move_to_end(sha256)
        set_weights_and_activate_adapters(module, [carried[sha256] for sha256 in weights], list(weights.values()))
        while len(carried) > max(MAX_RESIDENT, len(weights)):
            _, name = carried.popitem(last=False)
            take_off(module, name)


def adapter_bytes(module: nn.Module, name: str) -> int:
    """Bytes of one adapter's weights on a module."""
    return sum(weight.nbytes for key, weight in module.named_parameters() if f".{name}." in f".{key}.")
