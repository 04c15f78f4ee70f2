"""Names of the layers that an adapter changes, as kohya's sd-scripts and LyCORIS spell them. Pure; knows nothing of tensors or files.

A layer is named `unet.<module>`, `text_encoder.<module>` or `text_encoder_2.<module>`, the modules as diffusers and transformers name them,
the text encoders' with `text_model.` in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

COMPONENTS = ("unet", "text_encoder", "text_encoder_2")
KOHYA_PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}

_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)(?:\.(.+))?")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)(?:\.(.+))?")
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_RESIDUAL = {"conv1": "in_layers.2", "conv2": "out_layers.3", "conv_shortcut": "skip_connection", "time_emb_proj": "emb_layers.1"}


def component_of(layer: str) -> str:
    """`unet`, `text_encoder` or `text_encoder_2`: the first part of a layer's name."""
    return layer.split(".", 1)[0]


def kohya_name(layer: str, layers_per_block: int) -> str:
    """A layer as sd-scripts names it for SDXL: `lora_unet_input_blocks_4_1_...`, after the blocks of the original UNet."""
    return kohya_names(layer, layers_per_block)[0]


def kohya_names(layer: str, layers_per_block: int) -> tuple[str, ...]:
    """All names of a layer in files of that kind, sd-scripts' own first; the others keep diffusers' names of the blocks."""
    component = component_of(layer)
    module = layer.removeprefix(f"{component}.")
    spellings = [*_original_names(module, layers_per_block), module] if component == "unet" else [module]
    return tuple(KOHYA_PREFIXES[component] + spelling.replace(".", "_") for spelling in spellings)


def kohya_layers(layers: Iterable[str], layers_per_block: int) -> dict[str, str]:
    """Name in a kohya file -> layer."""
    return {name: layer for layer in layers for name in reversed(kohya_names(layer, layers_per_block))}


def _original_names(module: str, layers_per_block: int) -> list[str]:
    """The UNet's layer as Stability's own code numbers it (diffusers' `convert_from_ckpt` read backwards); empty where it has no such."""
    if module in _OUTSIDE:
        return [_OUTSIDE[module]]
    middle = _MIDDLE.fullmatch(module)
    if middle:
        kind, number, rest = middle.groups()
        return [_join("middle_block", 2 * int(number) + (kind == "attentions"), _rest(kind, rest))]
    block = _BLOCK.fullmatch(module)
    if block is None:
        return []
    side, index, kind, number, rest = block.groups()
    place = int(index) * (layers_per_block + 1) + int(number)
    if kind == "downsamplers":
        return [_join("input_blocks", place + layers_per_block + 1, "0.op")]
    if kind == "upsamplers":
        # It follows the attention where the block has one.
        return [_join("output_blocks", place + layers_per_block, f"{slot}.{rest}") for slot in (2, 1)]
    start, place = ("input_blocks", place + 1) if side == "down" else ("output_blocks", place)
    return [_join(start, place, f"{int(kind == 'attentions')}", _rest(kind, rest))]


def _rest(kind: str, rest: str | None) -> str:
    return _RESIDUAL.get(rest or "", rest or "") if kind == "resnets" else rest or ""


def _join(*parts: object) -> str:
    return ".".join(str(part) for part in parts if part != "")
