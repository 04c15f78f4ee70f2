"""ImageReward: BLIP's picture encoder and its text encoder that looks at the picture, and a linear head fitted to people's ratings.

Xu et al., 2023, "ImageReward: Learning and Evaluating Human Preferences for Text-to-Image Generation". Its own package is not needed: both
encoders are in transformers, under other names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertTokenizerFast, BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from daemon.measuring.metrics import Measure, Values
from daemon.measuring.scorers.linear_head import linear_head
from daemon.measuring.scorers.placing import place, reading
from daemon.prompts.words import plain_words

WEIGHTS_FILE = "ImageReward.safetensors"
CONFIG_FILE = "med_config.json"
MEAN, STD = 0.16717362830052426, 1.0333394966054072
"""Of the raw scores on its training pairs: what is told has mean 0 and deviation 1 there."""
MAX_TOKENS = 35
HEAD_WIDTH = 64
"""Of an attention head of BLIP's picture encoders, ViT-B and ViT-L alike."""
_PICTURES, _WORDS, _HEAD = "blip.visual_encoder.", "blip.text_encoder.", "mlp."

_TOP = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj.weight": "embeddings.patch_embedding.weight",
    "patch_embed.proj.bias": "embeddings.patch_embedding.bias",
    "norm.weight": "post_layernorm.weight",
    "norm.bias": "post_layernorm.bias",
}
_BLOCK = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attn.qkv": "self_attn.qkv", "attn.proj": "self_attn.projection"}


class ImageReward(nn.Module):
    """Both encoders and the head."""

    def __init__(self, tensors: Mapping[str, Tensor], med_config: Mapping[str, Any]) -> None:
        super().__init__()
        pictures = dict(vision_to_transformers(_under(_PICTURES, tensors)))
        words = {name: tensor for name, tensor in _under(_WORDS, tensors).items() if not name.endswith("position_ids")}
        self.pictures = BlipVisionModel(vision_config(pictures))
        self.words = BlipTextModel(text_config(med_config, self.pictures.config.hidden_size), add_pooling_layer=False)
        self.pictures.load_state_dict(pictures)
        self.words.load_state_dict(words)
        self.head = linear_head(_under(_HEAD, tensors))

    def forward(self, pixels_BCHW: Tensor, tokens: Mapping[str, Tensor]) -> Tensor:
        """(B, 3, H, W) and the prompts' `input_ids` and `attention_mask` (B, L) -> (B,)."""
        seen_BPD = self.pictures(pixel_values=pixels_BCHW).last_hidden_state
        found = self.words(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            encoder_hidden_states=seen_BPD,
            encoder_attention_mask=torch.ones(seen_BPD.shape[:2], dtype=torch.long, device=seen_BPD.device),
        )
        scores_B: Tensor = (self.head(found.last_hidden_state[:, 0])[:, 0] - MEAN) / STD
        return scores_B


def load_imagereward(folder: Path) -> Measure:
    """`imagereward` of every picture with its prompt. Raises `NegError` `corrupt`."""
    with reading(folder):
        tensors = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
        net = place(ImageReward(tensors, json.loads((folder / CONFIG_FILE).read_bytes())))
        tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
    size = net.pictures.config.image_size
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    device = next(net.parameters()).device

    @torch.inference_mode()
    def measure(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Values]:
        words = [plain_words(prompt) for prompt in prompts]
        tokens = tokenizer(words, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt").to(device)
        pixels_BCHW = processor(images=[image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"].to(device)
        return [{"imagereward": score} for score in net(pixels_BCHW, tokens).tolist()]

    return measure


def vision_config(tensors: Mapping[str, Tensor]) -> BlipVisionConfig:
    """Read off the tensors: nothing beside them tells the picture encoder's size."""
    width, _, patch_size, _ = tensors["embeddings.patch_embedding.weight"].shape
    side = isqrt(tensors["embeddings.position_embedding"].shape[1] - 1)
    return BlipVisionConfig(
        hidden_size=width,
        intermediate_size=tensors["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layers.")),
        num_attention_heads=width // HEAD_WIDTH,
        image_size=side * patch_size,
        patch_size=patch_size,
        hidden_act="gelu",
        layer_norm_eps=1e-6,
    )


def text_config(med_config: Mapping[str, Any], encoder_hidden_size: int) -> BlipTextConfig:
    """`med_config.json` in transformers' names; every layer looks at the picture, none only backwards."""
    taken = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps")
    told = {name: med_config[name] for name in (*taken, "max_position_embeddings", "pad_token_id") if name in med_config}
    return BlipTextConfig(**told, encoder_hidden_size=encoder_hidden_size, is_decoder=True, use_cache=False)


def vision_to_transformers(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """timm's names of a picture encoder as transformers has them; unknown ones stay."""
    for name, tensor in tensors.items():
        if name in _TOP:
            yield _TOP[name], tensor
        elif name.startswith("blocks."):
            _, number, rest = name.split(".", 2)
            stem, _, kind = rest.rpartition(".")
            yield f"encoder.layers.{number}.{_BLOCK.get(stem, stem)}.{kind}", tensor
        else:
            yield name, tensor


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
