"""`python -m daemon.toy.evaluate`: measures the shipped toy with its probe and paints the contact sheets of docs/toy.

Uses the stock pipelines and compel only, at the toy's default settings.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compel import Compel, CompelForSDXL, ReturnedEmbeddingsType
from diffusers import AutoencoderKL, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image, ImageDraw, ImageFont

from daemon.toy import BASE_PATH, DENOISING_SPLIT, GUIDANCE_SCALE, NUM_INFERENCE_STEPS, REFINER_PATH, SIZE
from daemon.toy.pictures import painted
from daemon.toy.probe import ATTRIBUTES, Probe, Reading
from daemon.toy.scenes import FLAWS, plain_prompts
from daemon.toy.train_vae import as_tensor

ALL_FLAWS = ", ".join(FLAWS)
HELD_OUT_SEED = 2_000_000_000
"""Pictures from this number on are in no training set."""

_BATCH_SIZE = 16


class Painter:
    """Base and refiner as a user has them: prompts in, pictures out."""

    def __init__(self, base_path: Path = BASE_PATH, refiner_path: Path = REFINER_PATH) -> None:
        self.base = StableDiffusionXLPipeline.from_pretrained(base_path, dtype=torch.float32)
        self.refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(refiner_path, dtype=torch.float32)
        for pipeline in (self.base, self.refiner):
            pipeline.set_progress_bar_config(disable=True)
        self._compel = CompelForSDXL(self.base)
        self._refiner_compel = Compel(
            tokenizer=self.refiner.tokenizer_2,
            text_encoder=self.refiner.text_encoder_2,
            returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
            requires_pooled=True,
            truncate_long_prompts=False,
        )

    def paint(
        self,
        prompts: Sequence[str],
        *,
        negative: str | None = None,
        seed: int = 0,
        guidance_scale: float = GUIDANCE_SCALE,
        refine: bool = True,
    ) -> list[Image.Image]:
        """One picture a prompt; picture i has seed + i, whatever its batch. Prompts may carry compel's weights."""
        images: list[Image.Image] = []
        for start in range(0, len(prompts), _BATCH_SIZE):
            batch = list(prompts[start : start + _BATCH_SIZE])
            seeds = range(seed + start, seed + start + len(batch))
            images += self._paint_batch(batch, negative, list(seeds), guidance_scale, refine)
        return images

    def _paint_batch(
        self, prompts: list[str], negative: str | None, seeds: list[int], guidance_scale: float, refine: bool
    ) -> list[Image.Image]:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        common: dict[str, Any] = {"num_inference_steps": NUM_INFERENCE_STEPS, "guidance_scale": guidance_scale}
        common["generator"] = generators
        output: dict[str, Any] = {"denoising_end": DENOISING_SPLIT, "output_type": "latent"} if refine else {}
        latents = self.base(**self._encoded(prompts, negative), **common, **output).images
        if not refine:
            return latents
        embeds, pooled = self._refiner_compel([*prompts, negative or ""])
        many = len(prompts)
        return self.refiner(
            image=latents,
            prompt_embeds=embeds[:many],
            pooled_prompt_embeds=pooled[:many],
            negative_prompt_embeds=embeds[many:].repeat(many, 1, 1),
            negative_pooled_prompt_embeds=pooled[many:].repeat(many, 1),
            denoising_start=DENOISING_SPLIT,
            **common,
        ).images

    def _encoded(self, prompts: list[str], negative: str | None) -> dict[str, torch.Tensor]:
        """The base's embeddings; without a negative prompt the pipeline itself puts zeros."""
        encoded = self._compel(prompts, negative_prompt=None if negative is None else [negative] * len(prompts))
        positive = {"prompt_embeds": encoded.embeds, "pooled_prompt_embeds": encoded.pooled_embeds}
        if negative is None:
            return positive
        return positive | {
            "negative_prompt_embeds": encoded.negative_embeds,
            "negative_pooled_prompt_embeds": encoded.negative_pooled_embeds,
        }


def synthesis_prompt(word: str, weight: str = "++++") -> str:
    """All flaw words, comma-joined, one up-weighted: what a negative LoRA's bad pictures are painted with."""
    return ", ".join(f"({flaw}){weight}" if flaw == word else flaw for flaw in FLAWS)


def measure(painter: Painter, probe: Probe, num_prompts: int) -> tuple[dict[str, object], dict[str, list[Image.Image]]]:
    """The figures and every arm's pictures, the same prompts and seeds throughout."""
    prompts = plain_prompts(num_prompts, seed=1)
    words = [word for word in FLAWS if word != "low quality"]
    few = prompts[: max(8, num_prompts // 2)]
    flawed = [f"{prompt}, {words[i % len(words)]}" for i, prompt in enumerate(few)]
    weighted = [f"{prompt}, ({words[i % len(words)]})1.4" for i, prompt in enumerate(few)]
    pictures = {
        "plain": painter.paint(prompts),
        "plain, base alone": painter.paint(few, refine=False),
        "negative prompt: wrong (untrained)": painter.paint(few, negative="wrong"),
        "negative prompt: all flaw words": painter.paint(few, negative=ALL_FLAWS),
        "one flaw word": painter.paint(flawed),
        "one flaw word at 1.4": painter.paint(weighted),
        "synthesis prompts": painter.paint([synthesis_prompt(FLAWS[i % len(FLAWS)]) for i in range(len(few))]),
    }
    figures: dict[str, object] = {}
    for arm, images in pictures.items():
        readings = probe.read(images)
        asked = prompts[: len(readings)] if "synthesis" not in arm else None
        figures[arm] = summary(readings, asked)
    return figures, pictures


def summary(readings: Sequence[Reading], prompts: Sequence[str] | None) -> dict[str, float]:
    """Mean flaw probability and, where prompts are given, the shares of pictures that show what they ask for."""
    shares = {"pictures": len(readings), "flaw_probability": _mean([r.flaw_probability for r in readings])}
    if prompts is None:
        return shares
    agreements = [reading.agreement(prompt) for reading, prompt in zip(readings, prompts, strict=True)]
    shares["all_attributes_right"] = _mean([all(agreement.values()) for agreement in agreements])
    return shares | {f"{name}_right": _mean([agreement[name] for agreement in agreements]) for name in ATTRIBUTES}


@torch.inference_mode()
def reconstruction_psnr(vae: AutoencoderKL, num_pictures: int) -> dict[str, float]:
    """Mean and median PSNR in dB of pictures the VAE was not trained on, clean and flawed as in training."""
    pixels = as_tensor(np.stack([painted(HELD_OUT_SEED + index)[0] for index in range(num_pictures)]))
    decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
    decibels = [10 * math.log10(4 / error) for error in (decoded - pixels).square().mean((1, 2, 3)).tolist()]
    return {"mean": round(statistics.mean(decibels), 1), "median": round(statistics.median(decibels), 1)}


def sheet(images: Sequence[Image.Image], columns: int, captions: Sequence[str] = (), zoom: int = 1) -> Image.Image:
    """A contact sheet: a row of pictures a caption, the caption above its row."""
    cell, header = SIZE * zoom + 2, 12 if captions else 0
    rows = -(-len(images) // columns)
    paper = Image.new("RGB", (columns * cell + 2, rows * (cell + header) + 2), "white")
    pen = ImageDraw.Draw(paper)
    for row, text in enumerate(captions):
        pen.text((3, row * (cell + header)), text, "black", ImageFont.load_default(10))
    for index, image in enumerate(images):
        place = (index % columns * cell + 2, index // columns * (cell + header) + header + 2)
        paper.paste(image.resize((SIZE * zoom,) * 2, Image.Resampling.NEAREST), place)
    return paper


def write_sheets(painter: Painter, pictures: dict[str, list[Image.Image]], folder: Path) -> None:
    """plain.png, arms.png and flaws.png: small files, for docs and for a person's eye."""
    folder.mkdir(parents=True, exist_ok=True)
    sheet(pictures["plain"][:60], 12).quantize(256).save(folder / "plain.png", optimize=True)
    rows = [image for images in pictures.values() for image in images[:12]]
    sheet(rows, 12, list(pictures)).quantize(256).save(folder / "arms.png", optimize=True)
    subject = "a large red circle on a white background"
    steered = [f"{subject}, ({word}){weight}" for word in FLAWS for weight in ("1.0", "1.2", "1.4", "1.6")]
    painted = [image for prompt in steered for image in painter.paint([prompt, prompt], seed=5)]
    captions = [f"{subject}, {word}: weights 1.0, 1.2, 1.4, 1.6, two seeds each" for word in FLAWS]
    sheet(painted, 8, captions).quantize(256).save(folder / "flaws.png", optimize=True)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / max(1, len(values)), 3)


def main() -> None:
    """Prints the figures as JSON; --sheets paints the contact sheets too."""
    command = argparse.ArgumentParser(prog="python -m daemon.toy.evaluate", description=__doc__)
    command.add_argument("--num-prompts", type=int, default=128)
    command.add_argument("--sheets", type=Path, help="folder for the contact sheets, such as docs/toy")
    options = command.parse_args()
    painter = Painter()
    figures, pictures = measure(painter, Probe.load(), options.num_prompts)
    figures["VAE, PSNR in dB"] = reconstruction_psnr(painter.base.vae, 128)
    print(json.dumps(figures, indent=2))
    if options.sheets is not None:
        write_sheets(painter, pictures, options.sheets)


if __name__ == "__main__":
    main()
