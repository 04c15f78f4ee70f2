"""CLIP and its kin from a folder of the user's: pictures and words as unit vectors, and the scores that are made of their cosine.

Radford et al., 2021, "Learning Transferable Visual Models From Natural Language Supervision". Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from daemon.measuring.metrics import Measure, Values
from daemon.measuring.scorers.placing import place, reading
from daemon.prompts.words import plain_words
from daemon.protocol.errors import NegError

CONTEXT_LENGTH = 77


@dataclass(frozen=True)
class Clip:
    """A CLIP in memory. Pictures are scaled and cut as its `preprocessor_config.json` says, by Pillow."""

    model: Any
    tokenizer: Any | None
    """None where only pictures are read."""
    processor: Any

    @torch.inference_mode()
    def of_pictures(self, images: Sequence[Image.Image]) -> Tensor:
        """(B, D) float32, each of length 1."""
        pixels_BCHW = self.processor(images=[image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]
        pooled_BH = self.model.vision_model(pixel_values=pixels_BCHW.to(self.model.device)).pooler_output
        return nn.functional.normalize(self.model.visual_projection(pooled_BH).float(), dim=-1).cpu()

    @torch.inference_mode()
    def of_words(self, prompts: Sequence[str]) -> Tensor:
        """(B, D) float32, each of length 1; weights of prompts are left out, what is beyond the model's context is cut off."""
        assert self.tokenizer is not None
        length = min(CONTEXT_LENGTH, self.model.config.text_config.max_position_embeddings)
        words = [plain_words(prompt) for prompt in prompts]
        tokens = self.tokenizer(words, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        pooled_BH = self.model.text_model(input_ids=tokens["input_ids"].to(self.model.device)).pooler_output
        return nn.functional.normalize(self.model.text_projection(pooled_BH).float(), dim=-1).cpu()

    def cosines(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float]:
        """Of each picture with its prompt."""
        found: list[float] = (self.of_pictures(images) * self.of_words(prompts)).sum(dim=-1).tolist()
        return found


def load_clip(folder: Path, *, reads_words: bool = True) -> Clip:
    """A CLIP from safetensors in transformers' layout. Raises `NegError` `corrupt` where the files are not one."""
    with reading(folder):
        model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        return Clip(place(model), load_tokenizer(folder, model) if reads_words else None, load_processor(folder))


def load_tokenizer(folder: Path, model: CLIPModel) -> Any:
    """CLIP's tokenizer of a folder. Raises `NegError` `incompatible` where the model does not know all of its tokens."""
    tokenizer = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    known = model.config.text_config.vocab_size
    if len(tokenizer) > known:
        message = f"The tokenizer in {folder} has {len(tokenizer)} tokens, the model beside it knows {known}."
        raise NegError("incompatible", message, "Get the tokenizer's files of this very model.")
    return tokenizer


def load_processor(folder: Path) -> Any:
    """What scales, cuts and normalises pictures for a CLIP, by its folder's `preprocessor_config.json`."""
    return CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)


def load_clip_score(folder: Path) -> Measure:
    """`clip_score` = 100 max(cosine, 0): CLIPScore (Hessel et al., 2021) in the usual scale, without their prefix "A photo depicts"."""
    return scored("clip_score", load_clip(folder), lambda cosine: 100 * max(cosine, 0.0))


def load_pickscore(folder: Path) -> Measure:
    """`pickscore` = exp(logit_scale) cosine (Kirstain et al., 2023, "Pick-a-Pic"); a softmax over pictures gives who is picked."""
    clip = load_clip(folder)
    scale = float(clip.model.logit_scale.exp())
    return scored("pickscore", clip, lambda cosine: scale * cosine)


def scored(metric: str, clip: Clip, score: Callable[[float], float]) -> Measure:
    """A measure that is made of the cosine."""

    def measure(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Values]:
        return [{metric: score(cosine)} for cosine in clip.cosines(images, prompts)]

    return measure
