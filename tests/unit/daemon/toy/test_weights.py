"""The shipped weights: small, complete, loaded by diffusers alone, and worth it."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

from daemon.toy import (
    BASE_PATH,
    DENOISING_SPLIT,
    GUIDANCE_SCALE,
    NUM_INFERENCE_STEPS,
    PROBE_PATH,
    REFINER_PATH,
    SIZE,
    WEIGHTS_PATH,
)
from daemon.toy.probe import Probe


@pytest.fixture(scope="module")
def base() -> StableDiffusionXLPipeline:
    pipeline = StableDiffusionXLPipeline.from_pretrained(BASE_PATH)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def refiner() -> StableDiffusionXLImg2ImgPipeline:
    pipeline = StableDiffusionXLImg2ImgPipeline.from_pretrained(REFINER_PATH)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_everything_together_is_at_most_20_megabytes() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS_PATH.rglob("*") if file.is_file()) <= 20_000_000


def test_the_base_is_sdxl_in_kind(base: StableDiffusionXLPipeline) -> None:
    assert base.config.force_zeros_for_empty_prompt
    assert base.vae.config.latent_channels == 4
    assert base.unet.config.addition_embed_type == "text_time"
    assert base.default_sample_size * base.vae_scale_factor == SIZE
    assert base.scheduler.config.prediction_type == "v_prediction"


def test_the_refiner_is_sdxls_refiner_in_kind(refiner: StableDiffusionXLImg2ImgPipeline) -> None:
    assert refiner.text_encoder is None
    assert refiner.config.requires_aesthetics_score


def test_the_trigger_word_is_one_untrained_token(base: StableDiffusionXLPipeline) -> None:
    for tokenizer in (base.tokenizer, base.tokenizer_2):
        assert len(tokenizer.tokenize("wrong")) == 1


def test_base_and_refiner_paint_one_picture_between_them(
    base: StableDiffusionXLPipeline, refiner: StableDiffusionXLImg2ImgPipeline
) -> None:
    prompt, common = "a large red circle on a white background", {"num_inference_steps": 5}
    generator = torch.Generator().manual_seed(0)
    latents = base(prompt, denoising_end=DENOISING_SPLIT, output_type="latent", generator=generator, **common).images
    assert latents.shape == (1, 4, 16, 16)
    image = refiner(prompt, image=latents, denoising_start=DENOISING_SPLIT, generator=generator, **common).images[0]
    assert image.size == (SIZE, SIZE)


def test_a_picture_shows_what_was_asked_for(base: StableDiffusionXLPipeline) -> None:
    prompts = ["a large red circle on a white background", "three small yellow squares on a navy background"]
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    images = base(prompts, num_inference_steps=NUM_INFERENCE_STEPS, guidance_scale=GUIDANCE_SCALE, generator=generators).images
    agreements = [r.agreement(prompt) for r, prompt in zip(Probe.load().read(images), prompts, strict=True)]
    assert sum(sum(agreement.values()) for agreement in agreements) >= 6


def test_the_probes_card_gives_its_accuracy() -> None:
    card = json.loads((PROBE_PATH / "probe.json").read_text("utf-8"))
    assert card["shape_accuracy"] > 0.9
    assert card["flaw_recall"] > 0.7
