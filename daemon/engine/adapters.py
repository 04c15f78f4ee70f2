"""Adapters on a resident base: by the sha256 of their file, on the UNet and the text encoders, never fused, inert when not asked for."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from diffusers.utils.peft_utils import set_adapter_layers, set_weights_and_activate_adapters
from msgspec import UNSET
from torch import nn

from daemon.engine.adapter_loading import put_on, take_off, take_off_all
from daemon.engine.adapter_reading import read_adapter
from daemon.engine.guidance import Branch
from daemon.engine.row_adapters import NO_ADAPTER, stacked
from daemon.files import sha256_file
from daemon.models.adapter_files import obstacle_by_row
from daemon.models.adapter_keys import COMPONENTS
from daemon.models.headers import read_header
from daemon.protocol.errors import NegError
from daemon.protocol.events import ResidentPart
from daemon.protocol.specs import AdapterRequest

MAX_RESIDENT = 16
Key = TypeVar("Key")

Acting = tuple[tuple[str, float], ...]
"""sha256 and weight of the adapters that act, each once, in order, none of weight 0."""


def acting(wanted: Iterable[AdapterRequest], branch: Branch) -> Acting:
    """What acts in one branch of the guidance: the same adapter twice adds up, weight 0 is none."""
    weights: dict[str, float] = {}
    for request in wanted:
        positive, negative = request.weights
        weights[request.sha256] = weights.get(request.sha256, 0.0) + (positive if branch == "positive" else negative)
    return tuple((sha256, weight) for sha256, weight in weights.items() if weight != 0.0)


class AdapterShelf:
    """Which adapter files are known, and which adapters each module carries (at most `MAX_RESIDENT`, the least recently used goes)."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths
        self._components: dict[str, tuple[str, ...]] = {}
        self._num_bytes: dict[tuple[str, str], int] = {}
        self._carried: weakref.WeakKeyDictionary[nn.Module, OrderedDict[str, str]] = weakref.WeakKeyDictionary()
        self._stacks: weakref.WeakKeyDictionary[nn.Module, OrderedDict[Acting, str]] = weakref.WeakKeyDictionary()

    def carried(self, module: nn.Module) -> tuple[str, ...]:
        """sha256 of the adapters a module carries, active or not, least recently used first."""
        return tuple(self._carried.get(module, ()))

    def load(self, pipeline: Any, wanted: Iterable[str]) -> None:
        """Put adapters, by sha256, on the pipeline's UNet and text encoders, inert. Raises `NegError` for an unknown, changed, or
        unfitting file; the modules then carry what they did."""
        modules = _modules(pipeline)
        for sha256 in wanted:
            self._load(modules, sha256)

    def obstacle_by_row(self, request: AdapterRequest) -> str | None:
        """Why an adapter cannot act on single rows of a batch: it is a DoRA, LoHa or LoKr. None: it can. Raises as `load`."""
        return obstacle_by_row(read_header(self._path(request.sha256)).tensors)

    def require_rows(self, wanted: Iterable[AdapterRequest]) -> None:
        """Raises `NegError` `incompatible` for an adapter of unequal weights in the branches that cannot act on single rows."""
        for request in wanted:
            kind = self.obstacle_by_row(request) if request.negative_weight is not UNSET else None
            if kind is not None:
                raise NegError(
                    "incompatible",
                    f"{self._path(request.sha256)} is a {kind}, which cannot act on one branch of the guidance only, or unequally on both.",
                    "Give it one weight for both branches, or train a plain LoRA.",
                )

    def on_text(self, found: Acting) -> Acting:
        """Those of loaded adapters that change what the text encoders say."""
        return tuple((sha256, weight) for sha256, weight in found if self._components[sha256] != ("unet",))

    def activate(self, module: nn.Module, component: str, found: Acting) -> None:
        """Make exactly these loaded adapters act on a module, for all rows; none: it computes what it did before any came."""
        self._switch(module, {sha256: weight for sha256, weight in found if component in self._components[sha256]})

    def row_names(self, unet: nn.Module, found: Sequence[Acting]) -> list[str]:
        """peft's name for what acts on a row, for each row; `NO_ADAPTER` where nothing does. They are put on the UNet where missing."""
        own = [tuple((sha256, weight) for sha256, weight in one if "unet" in self._components[sha256]) for one in found]
        wanted = [one for one in dict.fromkeys(own) if one]
        stacks, carried = self._stacks.setdefault(unet, OrderedDict()), self._carried.get(unet, OrderedDict())
        for one in wanted:
            if one not in stacks:
                name = f"stack_{hashlib.sha256(repr(one).encode()).hexdigest()[:16]}"
                put_on(self._paths[one[0][0]], unet, stacked(unet, {carried[sha256]: weight for sha256, weight in one}), name)
                stacks[one] = name
        names = [stacks[one] if one else NO_ADAPTER for one in own]
        _keep_newest(unet, stacks, wanted)
        _keep_newest(unet, carried, [sha256 for one in wanted for sha256, _ in one])
        return names

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
            self._stacks.pop(module, None)

    def _path(self, sha256: str) -> Path:
        path = self._paths.get(sha256)
        if path is None or not path.is_file():
            raise NegError("not_found", f"The adapter {sha256[:12]} is not known here.", "Train it again, or put its file back.")
        return path

    def _load(self, modules: Mapping[str, nn.Module], sha256: str) -> None:
        """Put an adapter on every module that it changes and that does not carry it yet, or on none."""
        known = self._components.get(sha256)
        if known is not None and all(sha256 in self.carried(modules[name]) for name in known if name in modules):
            return
        path = self._path(sha256)
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
        set_weights_and_activate_adapters(module, [carried[sha256] for sha256 in weights], list(weights.values()))
        _keep_newest(module, carried, weights)


def adapter_bytes(module: nn.Module, name: str) -> int:
    """Bytes of one adapter's weights on a module."""
    return sum(weight.nbytes for key, weight in module.named_parameters() if f".{name}." in f".{key}.")


def _keep_newest(module: nn.Module, carried: OrderedDict[Key, str], used: Collection[Key]) -> None:
    """Mark as used; beyond `MAX_RESIDENT` the least recently used are taken off."""
    for key in used:
        carried.move_to_end(key)
    while len(carried) > max(MAX_RESIDENT, len(used)):
        take_off(module, carried.popitem(last=False)[1])


def _modules(pipeline: Any) -> dict[str, nn.Module]:
    return {name: module for name in COMPONENTS if (module := getattr(pipeline, name, None)) is not None}
