"""A LoRA on the UNet's attention, as `train_dreambooth_lora_sdxl.py` has it, put on and taken off again without a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor

from daemon.training.data.draws import draw_seed

ADAPTER_NAME = "negtui_training"
TARGET_MODULES = ("to_k", "to_out.0", "to_q", "to_v")

Parameters = dict[str, torch.nn.Parameter]
"""The trainable weights by peft's name without the adapter's: `down_blocks.1...attn1.to_q.lora_A.weight`; sorted."""


@contextlib.contextmanager
def attached_lora(unet: Any, rank: int, alpha: float, seed: int, *, gradient_checkpointing: bool = False) -> Iterator[Parameters]:
    """Add a fresh adapter to `unet` and lend its float32 weights; afterwards the UNet is as it was.

    lora_A is gaussian with deviation 1 / rank, lora_B zero (peft's `init_lora_weights="gaussian"`), drawn from `seed` alone.
    The frozen weights keep their dtype; the adapter is float32 whatever it is, or most updates would round to nothing.
    """
    if getattr(unet, "peft_config", None):
        raise RuntimeError("the UNet still carries an adapter")
    unet.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=list(TARGET_MODULES))
    unet.add_adapter(config, adapter_name=ADAPTER_NAME)
    try:
        parameters = _trainable(unet)
        _initialise(parameters, rank, seed)
        unet.train()
        if gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        yield parameters
    finally:
        if gradient_checkpointing:
            unet.disable_gradient_checkpointing()
        unet.eval()
        unet.unload_lora()


def peft_metadata(rank: int, alpha: float) -> dict[str, object]:
    """The peft config that goes into an adapter file, so that plain diffusers scales it by alpha / rank.

    Only what differs between our adapters or must not be guessed: peft refuses the fields that its version does not know yet.
    """
    return {"r": rank, "lora_alpha": alpha, "target_modules": list(TARGET_MODULES), "init_lora_weights": "gaussian", "lora_dropout": 0.0}


def copy_into(parameters: Parameters, weights: Mapping[str, Tensor]) -> None:
    """Overwrite the adapter by saved weights; raises `ValueError` where names or shapes differ."""
    if weights.keys() != parameters.keys() or any(weights[name].shape != parameters[name].shape for name in parameters):
        raise ValueError("these weights belong to another adapter")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def _trainable(unet: Any) -> Parameters:
    found = {name.replace(f".{ADAPTER_NAME}.", "."): parameter for name, parameter in unet.named_parameters() if parameter.requires_grad}
    for parameter in found.values():
        parameter.data = parameter.data.float()
    return dict(sorted(found.items()))


def _initialise(parameters: Parameters, rank: int, seed: int) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            if ".lora_B." in name:
                parameter.zero_()
            else:
                generator = torch.Generator().manual_seed(draw_seed(seed, "lora", name))
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / rank)
