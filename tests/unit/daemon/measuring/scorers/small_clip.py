"""A CLIP of random weights in a folder, as transformers saves it, with the toy's tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from daemon.toy import BASE_PATH

PROMPTS = ("two small green squares on a white background", "a (large)1.4 red star", "blurry")
TOWER = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": "gelu"}
VISION = TOWER | {"image_size": 32, "patch_size": 8, "projection_dim": 16}
TEXT = TOWER | {"max_position_embeddings": 77, "vocab_size": 890, "projection_dim": 16, "eos_token_id": 889, "bos_token_id": 888}


def small_clip(seed: int = 3, **text: int) -> CLIPModel:
    """Every weight counts: norms and biases are random too."""
    torch.manual_seed(seed)
    model = CLIPModel(CLIPConfig(projection_dim=16, vision_config=VISION, text_config=TEXT | text))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def save_clip(folder: Path, model: CLIPModel | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (model or small_clip()).save_pretrained(folder)
    add_readers(folder)
    return folder


def add_readers(folder: Path) -> None:
    """Tokenizer and picture processor."""
    for path in (BASE_PATH / "tokenizer").iterdir():
        shutil.copy(path, folder / path.name)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)


def pictures() -> list[Image.Image]:
    found = []
    for number, colour in enumerate(("green", "red", "blue")):
        image = Image.new("RGB", (64, 48), "white")
        ImageDraw.Draw(image).rectangle((8 * number, 8, 30 + 8 * number, 40), fill=colour)
        found.append(image)
    return found
