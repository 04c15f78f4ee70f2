"""HPS v2.1: a CLIP ViT-H/14 fitted to what people preferred, in open_clip's layout (Wu et al., 2023, "Human Preference Score v2")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from daemon.measuring.metrics import Measure
from daemon.measuring.scorers.clip import Clip, load_processor, load_tokenizer, scored
from daemon.measuring.scorers.placing import place, reading

WEIGHTS_FILE = "HPS_v2.1_compressed.safetensors"
CONFIG_FILE = "open_clip_config.json"
DEFAULT_HEAD_WIDTH = 64
"""open_clip's, of the vision tower, where its file does not tell."""

_TOP = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "logit_scale": "logit_scale",
}
_NORMS = {
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "ln_final": "text_model.final_layer_norm",
}
_PROJECTIONS = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TOWERS = {"visual.transformer.resblocks.": "vision_model.encoder.layers.", "transformer.resblocks.": "text_model.encoder.layers."}
_IGNORED = ("attn_mask",)


def load_hpsv2(folder: Path) -> Measure:
    """`hpsv2_1` = cosine of picture and prompt, as the published code has it. Raises `NegError` `corrupt`."""
    with reading(folder):
        tensors = {name.removeprefix("module."): tensor for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
        config = clip_config(json.loads((folder / CONFIG_FILE).read_bytes()))
        model = CLIPModel(config)
        model.load_state_dict(dict(to_transformers(tensors)))
        clip = Clip(place(model.to(torch.float32)), load_tokenizer(folder, model), load_processor(folder))
    return scored("hpsv2_1", clip, lambda cosine: cosine)


def clip_config(told: Mapping[str, Any]) -> CLIPConfig:
    """transformers' configuration of a model that `open_clip_config.json` describes."""
    model = told.get("model_cfg", told)
    vision, text = model["vision_cfg"], model["text_cfg"]
    act = "quick_gelu" if model.get("quick_gelu") else "gelu"
    return CLIPConfig(
        projection_dim=model["embed_dim"],
        vision_config={
            "hidden_size": vision["width"],
            "intermediate_size": int(vision["width"] * vision.get("mlp_ratio", 4)),
            "num_hidden_layers": vision["layers"],
            "num_attention_heads": vision["width"] // vision.get("head_width", DEFAULT_HEAD_WIDTH),
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "projection_dim": model["embed_dim"],
            "hidden_act": act,
        },
        text_config={
            "hidden_size": text["width"],
            "intermediate_size": 4 * text["width"],
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "max_position_embeddings": text["context_length"],
            "vocab_size": text["vocab_size"],
            "projection_dim": model["embed_dim"],
            "hidden_act": act,
            # The end of a text is its highest token, as open_clip reads it.
            "eos_token_id": 2,
        },
    )


def to_transformers(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """open_clip's tensors under transformers' names; queries, keys and values apart, projections turned. Unknown ones keep their names."""
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition(".")
        tower = next((tower for tower in _TOWERS if name.startswith(tower)), None)
        if name in _IGNORED:
            continue
        if name in _PROJECTIONS:
            yield _PROJECTIONS[name], tensor.T.contiguous()
        elif name in _TOP:
            yield _TOP[name], tensor
        elif stem in _NORMS:
            yield f"{_NORMS[stem]}.{kind}", tensor
        elif tower is not None:
            yield from _of_block(name.removeprefix(tower), _TOWERS[tower], tensor)
        else:
            yield name, tensor


def _of_block(name: str, tower: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    number, _, rest = name.partition(".")
    stem, _, kind = rest.rpartition(".")
    if kind.startswith("in_proj_"):
        for part, piece in zip("qkv", tensor.chunk(3), strict=True):
            yield f"{tower}{number}.self_attn.{part}_proj.{kind.removeprefix('in_proj_')}", piece.contiguous()
    else:
        yield f"{tower}{number}.{_BLOCK.get(stem, stem)}.{kind}", tensor
