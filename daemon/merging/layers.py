"""LoRAs merged layer by layer with peft's `add_weighted_adapter`, in float32 on the CPU, whatever the model runs in.

Knows nothing of files, sessions or jobs. A layer is merged on a stand-in of its shape, so that no weight of the base is needed or touched.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer, LoraModel
from torch import Tensor, nn

from daemon.protocol.errors import NegError
from daemon.protocol.merging_spec import SAME_RANK, MergeSpec

_MERGED = "merged"


@dataclass(frozen=True)
class Factors:
    """One LoRA of one layer: delta W = scaling * B A. `A`: (rank, in, ...) and `B`: (out, rank, ...), float32."""

    A: Tensor
    B: Tensor
    scaling: float

    @property
    def rank(self) -> int:
        return self.A.shape[0]


Layer = Mapping[int, Factors]
"""The LoRAs of a layer by the parent's place in `MergeSpec.adapters`; not every parent changes every layer."""


def parent_name(place: int) -> str:
    """What peft calls a parent: names of adapters may hold dots, names of modules may not."""
    return f"parent_{place}"


def carried(module: nn.Module, num_parents: int) -> dict[str, dict[int, Factors]]:
    """The parents' LoRAs that a module carries, put on under `parent_name`: layer -> place -> factors."""
    found = {}
    for name, layer in module.named_modules():
        if isinstance(layer, LoraLayer):
            found[name] = {place: _factors(layer, parent_name(place)) for place in range(num_parents) if parent_name(place) in layer.lora_A}
    return found


def merged_rank(spec: MergeSpec, layers: Mapping[str, Layer]) -> int:
    """The rank of all merged layers of a component. Raises `NegError` `incompatible` where they may not differ but do."""
    ranks = [max((layer[place].rank for layer in layers.values() if place in layer), default=0) for place in range(len(spec.adapters))]
    if spec.combination_type == "cat":
        return sum(ranks)
    if spec.combination_type not in SAME_RANK:
        return spec.svd_rank or max(ranks)
    if {factors.rank for layer in layers.values() for factors in layer.values()} != {max(ranks)}:
        told = ", ".join(f"{parent.name} {rank}" for parent, rank in zip(spec.adapters, ranks, strict=True) if rank)
        message = f"{spec.combination_type} needs adapters of one rank in every layer; these have up to: {told}."
        raise NegError("incompatible", message, "Choose cat or svd, which take any ranks.")
    return max(ranks)


def merge_layers(spec: MergeSpec, layers: Mapping[str, Layer], tell: Callable[[], None] = lambda: None) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer -> (A, B) of the merged LoRA at scaling 1, all of rank `merged_rank`; `tell` is called after each layer and may raise.

    Raises `NegError` `corrupt` where the weights are too large to be decomposed. DARE draws from `spec.seed`, layer after layer in the
    order of their names; the global generator is as before afterwards.
    """
    rank = merged_rank(spec, layers)
    merged = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        for name in sorted(layers):
            try:
                merged[name] = _padded(*_merge(spec, layers[name], rank), rank)
            except torch.linalg.LinAlgError as error:
                raise NegError(
                    "corrupt", f"The merge of {name} cannot be computed: {error}"[:400], "Use smaller weights, or cat."
                ) from error
            tell()
    return merged


def _merge(spec: MergeSpec, layer: Layer, rank: int) -> tuple[Tensor, Tensor]:
    one = next(iter(layer.values()))
    stand_in, names = _stand_in(one), [parent_name(place) for place in range(len(spec.adapters))]
    rank_of_absent = rank if spec.combination_type in SAME_RANK else 1
    tuner: Any = None
    with warnings.catch_warnings():
        # Several adapters on one module is what is meant, and a density of 1 is a choice.
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute|The density ")
        for place, name in enumerate(names):
            tuner = _put_on(stand_in, name, layer.get(place), rank_of_absent)
        tuner.add_weighted_adapter(
            names,
            [parent.weight for parent in spec.adapters],
            _MERGED,
            combination_type=spec.combination_type,
            svd_rank=min(rank, one.B.shape[0], one.A[0].numel()),
            svd_full_matrices=False,
            density=spec.density,
            majority_sign_method=spec.majority_sign_method,
        )
    found: Any = stand_in["layer"]
    return _plain(found.lora_A[_MERGED].weight), _plain(found.lora_B[_MERGED].weight)


def _stand_in(factors: Factors) -> nn.ModuleDict:
    """A layer of the right shape without weights of its own, and an anchor: peft merges only adapters that are all on the model."""
    out_features, in_features = factors.B.shape[0], factors.A.shape[1]
    if factors.A.dim() == 4:
        layer: nn.Module = nn.Conv2d(in_features, out_features, tuple(factors.A.shape[2:]), bias=False, device="meta")
    else:
        layer = nn.Linear(in_features, out_features, bias=False, device="meta")
    # One number seen from everywhere: it takes no room, and its dtype and device are those of the factors.
    layer.weight = nn.Parameter(torch.zeros(1).expand(layer.weight.shape), requires_grad=False)
    return nn.ModuleDict({"layer": layer, "anchor": nn.Linear(1, 1, bias=False)})


def _put_on(stand_in: nn.Module, name: str, factors: Factors | None, rank_of_absent: int) -> LoraModel:
    rank = rank_of_absent if factors is None else factors.rank
    state = {"anchor.lora_A.weight": torch.zeros(rank, 1), "anchor.lora_B.weight": torch.zeros(1, rank)}
    if factors is not None:
        state |= {"layer.lora_A.weight": factors.A, "layer.lora_B.weight": factors.B}
    targets = ["anchor"] if factors is None else ["anchor", "layer"]
    alpha: Any = rank * (1.0 if factors is None else factors.scaling)
    tuner = LoraModel(stand_in, LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets), name)
    set_peft_model_state_dict(stand_in, state, name)
    return tuner


def _padded(A: Tensor, B: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """With zeros up to `rank`, as every layer of the file; what is beyond are the zeros of absent parents."""
    A, B = A[:rank], B[:, :rank]
    missing = rank - A.shape[0]
    return torch.cat([A, A.new_zeros(missing, *A.shape[1:])]), torch.cat([B, B.new_zeros(B.shape[0], missing, *B.shape[2:])], dim=1)


def _factors(layer: Any, name: str) -> Factors:
    return Factors(_plain(layer.lora_A[name].weight), _plain(layer.lora_B[name].weight), float(layer.scaling[name]))


def _plain(weight: Tensor) -> Tensor:
    return weight.detach().float().cpu().contiguous()
