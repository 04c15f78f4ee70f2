"""A head is its layers in order, and nothing else passes for one."""

import itertools

import pytest
import torch
from torch import nn

from daemon.measuring.scorers.linear_head import linear_head
from daemon.protocol.errors import NegError


def tensors(*widths: int, start: int = 0, step: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    found = {}
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        found[f"layers.{start + step * number}.weight"] = torch.randn(outputs, inputs)
        found[f"layers.{start + step * number}.bias"] = torch.randn(outputs)
    return found


def test_layers_come_in_their_order_whatever_lay_between() -> None:
    found = tensors(8, 5, 3, 1, step=5)
    head = linear_head(dict(reversed(found.items())))
    x = torch.randn(4, 8)
    expected = x
    for number in (0, 5, 10):
        expected = nn.functional.linear(expected, found[f"layers.{number}.weight"], found[f"layers.{number}.bias"])
    assert torch.equal(head(x), expected)


def test_a_single_layer_may_go_by_no_name() -> None:
    head = linear_head({"weight": torch.ones(1, 3), "bias": torch.tensor([0.5])})
    assert head(torch.tensor([[1.0, 2.0, 3.0]])).item() == 6.5


@pytest.mark.parametrize(
    "found",
    [
        {},
        tensors(8, 5, 2),
        {**tensors(8, 1), "scale": torch.ones(1)},
        {name: tensor for name, tensor in tensors(8, 5, 1).items() if name != "layers.0.bias"},
        {**tensors(8, 5), **tensors(4, 1, start=2)},
    ],
)
def test_what_is_no_head_is_refused(found: dict[str, torch.Tensor]) -> None:
    with pytest.raises(NegError) as caught:
        linear_head(found)
    assert caught.value.detail.code == "incompatible"
