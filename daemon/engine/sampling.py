"""Paints one request with diffusers' own pipelines: base to denoising_end, latents, refiner from denoising_start.

Only what is standard, at batch 1: a plain script with the same arguments gives the same pixels on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image
from torch import Tensor

from daemon.engine.base import OnStep
from daemon.engine.loading import new_scheduler
from daemon.engine.preview import preview_jpeg
from daemon.engine.prompts import PromptEmbeddings
from daemon.protocol.specs import ImageRequest


@dataclass
class Progress:
    """Counts steps over base and refiner together, and offers a preview of each."""

    on_step: OnStep | None
    request: ImageRequest
    decoder: Callable[[], Tensor]
    num_steps: int = 0
    step: int = field(default=0, init=False)

    def __call__(self, pipeline: Any, index: int, timestep: Any, kwargs: dict[str, Tensor]) -> dict[str, Tensor]:
        self.step += 1
        if self.on_step is not None:
            latents, scheduler = kwargs["latents"], pipeline.scheduler
            self.on_step(self.step, max(self.num_steps, self.step), lambda: self._preview(latents, scheduler))
        return {}

    def _preview(self, latents_1CHW: Tensor, scheduler: Any) -> bytes:
        sigmas, index = getattr(scheduler, "sigmas", None), getattr(scheduler, "step_index", None)
        sigma = float(sigmas[index]) if sigmas is not None and index is not None and index < len(sigmas) else 0.0
        return preview_jpeg(latents_1CHW, self.decoder(), sigma, self.request.width, self.request.height)


def base_pipeline(parts: dict[str, Any], settings: dict[str, Any]) -> StableDiffusionXLPipeline:
    """A pipeline around resident parts with a scheduler of its own. Costs about a millisecond."""
    pipeline = StableDiffusionXLPipeline(
        vae=parts["vae"],
        text_encoder=parts["text_encoder"],
        text_encoder_2=parts["text_encoder_2"],
        tokenizer=parts["tokenizer"],
        tokenizer_2=parts["tokenizer_2"],
        unet=parts["unet"],
        scheduler=new_scheduler(parts["scheduler"]),
        force_zeros_for_empty_prompt=bool(settings.get("force_zeros_for_empty_prompt", True)),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def refiner_pipeline(parts: dict[str, Any], settings: dict[str, Any]) -> StableDiffusionXLImg2ImgPipeline:
    """As `base_pipeline`, for the refiner: one text encoder, aesthetic scores."""
    pipeline = StableDiffusionXLImg2ImgPipeline(
        vae=parts["vae"],
        text_encoder=None,
        text_encoder_2=parts["text_encoder_2"],
        tokenizer=None,
        tokenizer_2=parts["tokenizer_2"],
        unet=parts["unet"],
        scheduler=new_scheduler(parts["scheduler"]),
        requires_aesthetics_score=bool(settings.get("requires_aesthetics_score", True)),
        force_zeros_for_empty_prompt=bool(settings.get("force_zeros_for_empty_prompt", False)),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run_base(
    pipeline: StableDiffusionXLPipeline,
    request: ImageRequest,
    embeddings: PromptEmbeddings,
    generator: torch.Generator,
    progress: Progress,
    to_latents: bool,
) -> Tensor | Image.Image:
    """Latents (1, 4, h, w) at denoising_end, or the finished picture."""
    with vae_left_as_it_was(pipeline.vae):
        return pipeline(
            **embeddings.as_arguments(),
            width=request.width,
            height=request.height,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            denoising_end=request.denoising_split if to_latents else None,
            generator=generator,
            output_type="latent" if to_latents else "pil",
            callback_on_step_end=progress,
        ).images[0 if not to_latents else slice(None)]


def run_refiner(
    pipeline: StableDiffusionXLImg2ImgPipeline,
    request: ImageRequest,
    embeddings: PromptEmbeddings,
    latents: Tensor,
    generator: torch.Generator,
    progress: Progress,
) -> Image.Image:
    """The base's latents, denoised to the end and decoded."""
    with vae_left_as_it_was(pipeline.vae):
        return pipeline(
            **embeddings.as_arguments(),
            image=latents,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            denoising_start=request.denoising_split,
            generator=generator,
            callback_on_step_end=progress,
        ).images[0]


def count_steps(scheduler: Any, num_inference_steps: int, denoising_start: float | None = None) -> int:
    """Calls of the UNet for so many inference steps, or only those from `denoising_start` on; as diffusers cuts the timesteps."""
    fresh = new_scheduler(scheduler)
    fresh.set_timesteps(num_inference_steps)
    if denoising_start is None:
        return len(fresh.timesteps)
    num_train_timesteps = fresh.config.num_train_timesteps
    return int((fresh.timesteps < round(num_train_timesteps - denoising_start * num_train_timesteps)).sum())


@contextmanager
def vae_left_as_it_was(vae: AutoencoderKL) -> Iterator[None]:
    """diffusers upcasts a VAE that overflows in float16; an exception in between would leave it so."""
    dtype = vae.dtype
    try:
        yield
    finally:
        if vae.dtype != dtype:
            vae.to(dtype=dtype)
