"""Models resident on one device: each part loaded once, shared where contents agree, dropped when memory asks."""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from daemon import models
from daemon.config import environment_number
from daemon.engine.adapters import AdapterShelf
from daemon.engine.embeddings import EmbeddingShelf
from daemon.engine.loading import load_parts
from daemon.engine.memory import Part, PartStore, device_budget, free_cached, prepare_torch
from daemon.engine.parts import Sources, TrainingParts
from daemon.engine.preview import fit_linear_decoder
from daemon.engine.prompts import PromptEmbeddings
from daemon.models.sources import Dtype, Role
from daemon.protocol.errors import NegError
from daemon.protocol.events import ResidentPart

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


MAX_EMBEDDINGS = 256
TOGETHER_VARIABLE = "NEGTUI_PICTURES_TOGETHER"
"""How many arms of a block are painted together, in the place of what is best on the device."""


class Residents:
    """What lies in memory, by content: `parts(...)` gives a role's components, loading what is missing."""

    def __init__(self, cache_path: Path, adapter_paths: dict[str, Path], embedding_paths: dict[str, Path]) -> None:
        prepare_torch()
        self.shelf = AdapterShelf(adapter_paths)
        self.embedding_shelf = EmbeddingShelf(embedding_paths)
        self._cache_path = cache_path
        self._working: dict[tuple[str, int, int, int], int] = {}
        self._needed: tuple[str, int, int, int, Dtype] = ("cpu", 64, 64, 1, "float32")
        self._decoders: weakref.WeakKeyDictionary[AutoencoderKL, Tensor] = weakref.WeakKeyDictionary()
        self._known: dict[tuple[Sources, Role], tuple[dict[str, str], dict[str, Any]]] = {}
        self._embeddings: OrderedDict[tuple[Any, ...], PromptEmbeddings] = OrderedDict()
        self.store = PartStore(self._budget)

    def settings(self, sources: Sources, role: Role) -> dict[str, Any]:
        """model_index.json of a role."""
        return self._read(sources, role)[1]

    def embeddings(self, sources: Sources, role: Role, words: tuple[Any, ...], encode: Callable[[], PromptEmbeddings]) -> PromptEmbeddings:
        """Encoded prompts by text encoders and words; the last `MAX_EMBEDDINGS` are kept."""
        encoders = tuple(key for name, key in sorted(self.keys(sources, role).items()) if name.startswith("t"))
        key = (role, encoders, words)
        if key not in self._embeddings:
            self._embeddings[key] = encode()
            while len(self._embeddings) > MAX_EMBEDDINGS:
                self._embeddings.popitem(last=False)
        self._embeddings.move_to_end(key)
        return self._embeddings[key]

    def parts(self, sources: Sources, role: Role) -> dict[str, Any]:
        """Components of the base or refiner by name, on their device; the VAE replaced where the model says so."""
        if sources.device == "cuda" and not torch.cuda.is_available():
            raise NegError("invalid", "There is a GPU, but torch cannot use it.", 'Install a torch for CUDA, or set device = "cpu".')
        keys = self.keys(sources, role)
        missing = [name for name, key in keys.items() if key not in self.store]
        if not missing:
            return {name: self.store.get(key) for name, key in keys.items()}
        keep = tuple(keys.values())
        self.store.make_room(self._bytes_of(sources, role, missing), keep)
        own = [name for name in missing if name != "vae" or sources.vae is None]
        loaded = load_parts(sources.source(role), role, own, sources.dtype, sources.device, self._cache_path)
        if "vae" in missing and sources.vae is not None:
            loaded |= load_parts(sources.vae, "vae", ["vae"], sources.dtype, sources.device, self._cache_path)
        for name, part in loaded.items():
            self.store.put(keys[name], part, role if name == "unet" else "shared")
        return {name: self.store.get(key) for name, key in keys.items()}

    def keys(self, sources: Sources, role: Role) -> dict[str, str]:
        """Component -> what identifies it in memory: content, precision, device."""
        return self._read(sources, role)[0]

    def _read(self, sources: Sources, role: Role) -> tuple[dict[str, str], dict[str, Any]]:
        """What files say of a role, read once: `sources` holds the identity of their contents."""
        if (sources, role) not in self._known:
            self._known[(sources, role)] = (self._keys(sources, role), models.model_index(sources.source(role), role, self._cache_path))
        return self._known[(sources, role)]

    def _keys(self, sources: Sources, role: Role) -> dict[str, str]:
        hashes = models.part_hashes(sources.source(role), role, sources.dtype, self._cache_path)
        if sources.vae is not None:
            hashes["vae"] = models.part_hashes(sources.vae, "vae", sources.dtype, self._cache_path)["vae"]
        return {name: f"{name}:{sha256}:{sources.dtype}:{sources.device}" for name, sha256 in hashes.items()}

    def told(self) -> tuple[ResidentPart, ...]:
        """What lies in memory, largest first; for any thread."""
        modules = [(key, part) for key, part in self.store.items() if isinstance(part.content, nn.Module)]
        adapters = self.shelf.told([part.content for _, part in modules])
        return tuple(sorted((*(_told(key, part) for key, part in modules), *adapters), key=lambda part: -part.num_bytes))

    def plan_for(self, sources: Sources, width: int, height: int, num_pictures: int = 1) -> None:
        """Tell the budget how large the next pictures are, and how many are painted together."""
        self._needed = (sources.device, width, height, num_pictures, sources.dtype)

    def num_together(self, sources: Sources, width: int, height: int, wanted: int) -> int:
        """How many of `wanted` pictures are best painted together: on a GPU as many as fit beside the base, on a CPU one.

        On a CPU sums in larger batches round differently, and one picture at a time is what plain diffusers paints, bit for bit.
        """
        if os.environ.get(TOGETHER_VARIABLE):
            return min(int(environment_number(TOGETHER_VARIABLE, 1, least=1)), wanted)
        if sources.device != "cuda":
            return 1
        roles: tuple[Role, ...] = ("base",) if sources.refiner is None else ("base", "refiner")
        part_bytes = sum(self._bytes_of(sources, role, list(self.keys(sources, role))) for role in roles)
        number = wanted
        while number > 1 and (device_budget("cuda", self._working_bytes("cuda", width, height, number, sources.dtype)) or 0) < part_bytes:
            number -= 1
        return number

    def learn_working_bytes(self, sources: Sources, width: int, height: int, num_pictures: int = 1) -> None:
        """Remember what so many pictures of this size really took beside the parts."""
        if sources.device == "cuda":
            peak = torch.cuda.max_memory_allocated() - self.store.num_bytes
            self._working[(sources.device, width, height, num_pictures)] = max(peak, 0)

    def decoder(self, vae: AutoencoderKL) -> Tensor:
        """The linear preview of a VAE, fitted when first asked for."""
        if vae not in self._decoders:
            self._decoders[vae] = fit_linear_decoder(vae)
        return self._decoders[vae]

    def take_back(self, parts: TrainingParts) -> None:
        """Undo what training did to the lent parts; a part that cannot be undone (its precision changed) is dropped and loaded anew."""
        self.shelf.unload_all(parts.unet, parts.text_encoder, parts.text_encoder_2)
        parts.unet.disable_gradient_checkpointing()
        for module in (parts.unet, parts.vae, parts.text_encoder, parts.text_encoder_2):
            for parameter in module.parameters():
                parameter.grad = None
            module.eval().requires_grad_(False)
            if module.dtype != parts.dtype or module.device.type != torch.device(parts.device).type:
                self.store.drop_content(module)
        free_cached()

    def close(self) -> None:
        self.store.drop_all_but(())
        self._embeddings.clear()
        free_cached()

    def _budget(self) -> int | None:
        return device_budget(self._needed[0], self._working_bytes(*self._needed))

    def _working_bytes(self, device: str, width: int, height: int, num_pictures: int, dtype: Dtype) -> int:
        """What was learned, or a guess: pictures are denoised together, but decoded one by one."""
        guess = models.working_bytes(width, height, dtype) * (num_pictures + 1) // 2
        return self._working.get((device, width, height, num_pictures)) or guess

    def _bytes_of(self, sources: Sources, role: Role, names: list[str]) -> int:
        sizes = models.part_bytes(sources.source(role), role, sources.dtype)
        return sum(sizes.get(name, 0) for name in names)


def _told(key: str, part: Part) -> ResidentPart:
    """A part as people see it; where it lies may change while it is looked at."""
    parameter = next(part.content.parameters(), None)
    device, dtype = ("cpu", "") if parameter is None else (parameter.device.type, str(parameter.dtype).removeprefix("torch."))
    kind = cast(Literal["base", "refiner", "shared"], part.role)
    return ResidentPart(name=key.partition(":")[0], kind=kind, num_bytes=part.num_bytes, device=device, dtype=dtype)


def training_parts(residents: Residents, sources: Sources) -> TrainingParts:
    """The base without any adapter, and a DDPM scheduler with its betas."""
    parts = residents.parts(sources, "base")
    residents.shelf.unload_all(parts["unet"], parts["text_encoder"], parts["text_encoder_2"])
    modules: dict[str, nn.Module] = {name: parts[name] for name in ("text_encoder", "text_encoder_2", "vae", "unet")}
    return TrainingParts(
        tokenizer=parts["tokenizer"],
        tokenizer_2=parts["tokenizer_2"],
        **modules,
        noise_scheduler=DDPMScheduler.from_config(parts["scheduler"].config),
        scheduler=parts["scheduler"],
        force_zeros_for_empty_prompt=bool(residents.settings(sources, "base").get("force_zeros_for_empty_prompt", True)),
        dtype=getattr(torch, sources.dtype),
        device=torch.device(sources.device),
        identity=sources.identity,
    )
