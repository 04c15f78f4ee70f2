"""What a merge of adapters is asked to be, and which wishes make sense together. Spelt as in peft's `add_weighted_adapter`."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta

from daemon.protocol.errors import NegError
from daemon.protocol.fields import Name, Seed, Spec

CombinationType = Literal[
    "linear",
    "cat",
    "svd",
    "ties",
    "ties_svd",
    "dare_linear",
    "dare_ties",
    "dare_linear_svd",
    "dare_ties_svd",
    "magnitude_prune",
    "magnitude_prune_svd",
]
COMBINATION_TYPES: tuple[str, ...] = get_args(CombinationType)
SAME_RANK = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
"""They combine the factors A and B themselves, which must have the same shapes."""


class ParentAdapter(Spec, frozen=True, kw_only=True):
    """One adapter of the session (`adapters/<name>/`) and how strongly it goes into the merged one; negative: it is taken off."""

    name: Name
    weight: Annotated[float, Meta(ge=-10.0, le=10.0)] = 1.0


class MergeSpec(Spec, frozen=True, kw_only=True):
    """Several LoRAs made into one."""

    output_name: Name = "merged"
    adapters: Annotated[tuple[ParentAdapter, ...], Meta(min_length=2, max_length=16)]
    combination_type: CombinationType = "cat"
    """`cat` is exactly the sum of the parents, at the sum of their ranks; `svd` the best sum of a lower rank; `linear` adds the factors,
    which is rough; TIES (Yadav et al., 2023), DARE (Yu et al., 2023) and magnitude pruning drop weights first, to keep parents apart."""
    svd_rank: Annotated[int, Meta(ge=1, le=1024)] | None = None
    """Of the `..svd` types; none: the highest of the parents."""
    density: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """The share of weights that TIES, DARE and magnitude pruning keep."""
    majority_sign_method: Literal["total", "frequency"] = "total"
    """How TIES elects a sign: by the sum of the weights, or by counting."""
    seed: Seed = 0
    """Of what DARE drops."""


def prunes(spec: MergeSpec) -> bool:
    """Whether weights are dropped first, so that `density` counts."""
    return spec.combination_type.startswith(("ties", "dare", "magnitude_prune"))


def require_sound_merge(spec: MergeSpec) -> None:
    """Raise `NegError` `invalid` for wishes that contradict each other."""
    names = [parent.name for parent in spec.adapters]
    if len(set(names)) < len(names):
        raise NegError("invalid", f"merging {spec.output_name!r} names an adapter twice.", "Name it once, with the sum of the weights.")
    if spec.output_name in names:
        raise NegError("invalid", f"merging would replace its own parent {spec.output_name!r}.", "Choose another output_name.")
    if any(parent.weight == 0 for parent in spec.adapters):
        raise NegError("invalid", "An adapter of weight 0 has no part in a merge.", "Leave it out.")
    kind = spec.combination_type
    if prunes(spec) and spec.density is None:
        raise NegError("invalid", f"{kind} needs a density: the share of weights that it keeps.", "Set density, as 0.5.")
    if spec.density is not None and not prunes(spec):
        raise NegError("invalid", f"{kind} keeps every weight: it has no density.", "Leave density out, or choose ties or dare_linear.")
    if spec.svd_rank is not None and not kind.endswith("svd"):
        raise NegError("invalid", f"{kind} has no svd_rank.", "Leave svd_rank out, or choose svd.")
