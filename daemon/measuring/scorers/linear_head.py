"""A head of linear layers without anything between them, as LAION's aesthetic predictor and ImageReward have it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from daemon.protocol.errors import NegError

_LAYER = re.compile(r"(?:layers\.(\d+)\.)?(weight|bias)")


def linear_head(tensors: Mapping[str, Tensor]) -> nn.Sequential:
    """`layers.N.weight` and `layers.N.bias` in the order of N, or one `weight` and `bias`; what lay between (dropout) is inert.

    Raises `NegError` `incompatible` where the tensors are not such a head, or do not end in one number.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _LAYER.fullmatch(name)
        if match is None:
            raise _strange(f"a tensor {name!r}")
        found.setdefault(int(match[1] or 0), {})[match[2]] = tensor.float()
    layers = [_layer(found[number]) for number in sorted(found)]
    for layer, following in itertools.pairwise(layers):
        if layer.out_features != following.in_features:
            raise _strange(f"a layer of {layer.out_features} before one of {following.in_features}")
    if not layers or layers[-1].out_features != 1:
        raise _strange("no last layer of one number")
    return nn.Sequential(*layers).eval().requires_grad_(False)


def _layer(tensors: Mapping[str, Tensor]) -> nn.Linear:
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if weight is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise _strange("a layer without weight and bias that fit")
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def _strange(what: str) -> NegError:
    return NegError(
        "incompatible", f"The scorer's head is not one of linear layers: it has {what}.", "Get the file that docs/measures.md names."
    )
