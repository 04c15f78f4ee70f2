"""LAION's aesthetic predictor: linear layers on CLIP ViT-L/14's unit vector of a picture, fitted to people's ratings of 1 to 10."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from daemon.measuring.metrics import Measure, Values
from daemon.measuring.scorers.clip import load_clip
from daemon.measuring.scorers.linear_head import linear_head
from daemon.measuring.scorers.placing import reading
from daemon.protocol.errors import NegError

HEAD_FILE = "aesthetic_head.safetensors"


def load_aesthetic(folder: Path) -> Measure:
    """`aesthetic` of every picture (Schuhmann, 2022, "improved-aesthetic-predictor"); prompts are not read."""
    clip = load_clip(folder, reads_words=False)
    with reading(folder):
        head = linear_head(load_file(folder / HEAD_FILE))
    wanted, given = head[0].in_features, clip.model.config.projection_dim
    if wanted != given:
        message = f"{folder / HEAD_FILE} was fitted to vectors of {wanted} numbers; the CLIP beside it gives {given}."
        raise NegError("incompatible", message, "LAION's head wants CLIP ViT-L/14 (768).")

    @torch.inference_mode()
    def measure(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Values]:
        return [{"aesthetic": score} for score in head(clip.of_pictures(images))[:, 0].tolist()]

    return measure
