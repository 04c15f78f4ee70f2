"""The count of operations and bytes that the figures on a GPU rest on."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

TINY: dict[str, Any] = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "mid_block_type": None,
    "layers_per_block": 1,
    "transformer_layers_per_block": 1,
    "attention_head_dim": 2,
    "cross_attention_dim": 32,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 16,
    "norm_num_groups": 4,
}


@pytest.fixture(scope="module")
def cost() -> Any:
    found = importlib.util.spec_from_file_location("trainer_cost", Path(__file__).with_name("trainer_cost.py"))
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    # Dataclasses look their module up.
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


def by_hand(cost: Any, unet: Any, batch_size: int, side: int) -> int:
    """Operations of the forward, from the shapes that each layer sees."""
    import torch
    from diffusers.models.attention_processor import Attention

    total = 0

    def layer(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        per_number = module.in_features if isinstance(module, torch.nn.Linear) else module.weight[0].numel()
        total += 2 * output.numel() * per_number

    def attention(module: Any, inputs: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
        nonlocal total
        read = options.get("encoder_hidden_states")
        num_keys = inputs[0].shape[1] if read is None else read.shape[1]
        total += 2 * 2 * inputs[0].shape[0] * inputs[0].shape[1] * num_keys * module.inner_dim

    handles = []
    for module in unet.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            handles.append(module.register_forward_hook(layer))
        elif isinstance(module, Attention):
            handles.append(module.register_forward_hook(attention, with_kwargs=True))
    unet(**cost._inputs(unet.config, batch_size, side))
    for handle in handles:
        handle.remove()
    return total


def test_operations_are_those_of_the_layers_and_everything_but_weights_grows_with_the_batch(cost: Any) -> None:
    unet = cost.adapted_unet(TINY)
    one, two = (cost.count(unet, batch_size, 128) for batch_size in (1, 2))
    assert one.forward_flops == by_hand(cost, unet, 1, 16)
    assert (two.forward_flops, two.backward_flops) == (2 * one.forward_flops, 2 * one.backward_flops)
    assert two.activation_bytes == pytest.approx(2 * one.activation_bytes, rel=1e-3)
    assert astuple(two)[3:] == astuple(one)[3:]
    trained = sum(parameter.numel() for parameter in unet.parameters() if parameter.requires_grad)
    assert one.trained_bytes == 16 * trained


def test_gradient_checkpointing_computes_twice_and_keeps_less(cost: Any) -> None:
    plain, twice = (cost.count(cost.adapted_unet(TINY, gradient_checkpointing=on), 1, 128) for on in (False, True))
    assert twice.forward_flops == plain.forward_flops
    assert plain.backward_flops < twice.backward_flops <= plain.backward_flops + plain.forward_flops
    assert twice.activation_bytes < plain.activation_bytes
