"""The denoising loop of base and refiner over one picture or several at once, with diffusers' own schedulers and conditioning.

Of one picture at a time a plain script with the same arguments gives the same pixels on a CPU; of several, pictures that differ by
rounding. Knows nothing of requests, adapters or how embeddings are made.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image
from torch import Tensor

from daemon.engine.guidance import Guidance, Row, combine, rows_at
from daemon.engine.loading import new_scheduler
from daemon.engine.prompts import PromptEmbeddings

OnLatents = Callable[[Tensor, float], None]
"""(latents (B, 4, h, w) after a step, their noise level sigma). May raise to stop."""
ChooseRows = Callable[[Sequence[Row]], None]
"""Told of the rows that the UNet is asked for next."""


def base_pipeline(parts: dict[str, Any], settings: dict[str, Any]) -> StableDiffusionXLPipeline:
    """A pipeline around resident parts with a scheduler of its own. Costs about a millisecond."""
    return StableDiffusionXLPipeline(
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


def refiner_pipeline(parts: dict[str, Any], settings: dict[str, Any]) -> StableDiffusionXLImg2ImgPipeline:
    """As `base_pipeline`, for the refiner: one text encoder, aesthetic scores."""
    return StableDiffusionXLImg2ImgPipeline(
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


@dataclass(frozen=True)
class Stage:
    """Base or refiner, ready to denoise once: its timesteps, and the number of the first one over both."""

    pipeline: Any
    scheduler: Any
    timesteps: Tensor
    first_step: int
    time_ids: dict[str, Tensor]
    """(1, 6) or (1, 5) by branch: sizes, crops, and the refiner's aesthetic scores."""
    like: Tensor
    """A weight of its UNet: where, and in which dtype, that computes."""

    def again(self) -> Stage:
        """The same for other pictures: a scheduler remembers where it is."""
        return replace(self, scheduler=copy.deepcopy(self.scheduler))


def base_stage(
    pipeline: StableDiffusionXLPipeline, num_inference_steps: int, width: int, height: int, denoising_end: float | None
) -> Stage:
    """The base's timesteps, down to `denoising_end` where that is given, as diffusers cuts them."""
    scheduler, like = pipeline.scheduler, _first_weight(pipeline.unet)
    scheduler.set_timesteps(num_inference_steps, device=like.device)
    timesteps = scheduler.timesteps
    if denoising_end is not None:
        num_train_timesteps = scheduler.config.num_train_timesteps
        timesteps = timesteps[timesteps >= round(num_train_timesteps - denoising_end * num_train_timesteps)]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    size = (height, width)
    ids = pipeline._get_add_time_ids(size, (0, 0), size, like.dtype, pipeline.text_encoder_2.config.projection_dim)
    return Stage(pipeline, scheduler, timesteps, 0, dict.fromkeys(("negative", "positive"), ids.to(like.device)), like)


def refiner_stage(
    pipeline: StableDiffusionXLImg2ImgPipeline, num_inference_steps: int, width: int, height: int, denoising_start: float, first_step: int
) -> Stage:
    """The refiner's timesteps from `denoising_start` on; aesthetic scores 6.0 and 2.5, as the pipeline has them."""
    scheduler, like = pipeline.scheduler, _first_weight(pipeline.unet)
    scheduler.set_timesteps(num_inference_steps, device=like.device)
    timesteps, _ = pipeline.get_timesteps(num_inference_steps, 0.3, like.device, denoising_start=denoising_start)
    size = (height, width)
    positive, negative = pipeline._get_add_time_ids(
        size, (0, 0), size, 6.0, 2.5, size, (0, 0), size, like.dtype, pipeline.text_encoder_2.config.projection_dim
    )
    return Stage(
        pipeline, scheduler, timesteps, first_step, {"negative": negative.to(like.device), "positive": positive.to(like.device)}, like
    )


def start_latents(pipeline: StableDiffusionXLPipeline, width: int, height: int, generator: torch.Generator) -> Tensor:
    """Noise of the first timestep, (1, 4, h, w); drawn on the generator's device. After `base_stage`: the scheduler scales it."""
    like = _first_weight(pipeline.unet)
    return pipeline.prepare_latents(1, pipeline.unet.config.in_channels, height, width, like.dtype, like.device, generator)


@torch.no_grad()
def denoise(
    stage: Stage,
    latents_BCHW: Tensor,
    embeddings: Sequence[PromptEmbeddings],
    guidances: Sequence[Guidance],
    generators: Sequence[torch.Generator],
    on_latents: OnLatents = lambda latents, sigma: None,
    choose_rows: ChooseRows = lambda rows: None,
) -> Tensor:
    """B pictures from the stage's first timestep to behind its last: (B, 4, h, w) -> (B, 4, h, w). Embeddings all of one length.

    `generators` are for schedulers that add noise, one for each picture.
    """
    pipeline, scheduler = stage.pipeline, stage.scheduler
    extra = pipeline.prepare_extra_step_kwargs(list(generators) if len(generators) > 1 else generators[0], 0.0)
    known: dict[tuple[Row, ...], dict[str, Any]] = {}
    for step, timestep in enumerate(stage.timesteps, stage.first_step):
        rows = rows_at(step, guidances)
        if rows not in known:
            known[rows] = _conditions(stage, rows, embeddings, guidances)
        inputs_RCHW = latents_BCHW[[row.picture for row in rows]]
        inputs_RCHW = scheduler.scale_model_input(inputs_RCHW, timestep)
        choose_rows(rows)
        predicted_RCHW = pipeline.unet(inputs_RCHW, timestep, **known[rows], return_dict=False)[0]
        predicted_BCHW = combine(predicted_RCHW, rows, guidances)
        latents_BCHW = scheduler.step(predicted_BCHW, timestep, latents_BCHW, **extra, return_dict=False)[0]
        on_latents(latents_BCHW, _sigma(scheduler))
    return latents_BCHW


@torch.no_grad()
def decode(pipeline: Any, latents_1CHW: Tensor) -> Image.Image:
    """The picture of finished latents; a VAE that overflows in float16 is in float32 meanwhile."""
    vae = pipeline.vae
    with _precise(vae):
        latents_1CHW = latents_1CHW.to(_first_weight(vae).dtype)
        mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
        if mean is not None and std is not None:
            mean_1C11, std_1C11 = (torch.tensor(values).view(1, 4, 1, 1).to(latents_1CHW) for values in (mean, std))
            latents_1CHW = latents_1CHW * std_1C11 / vae.config.scaling_factor + mean_1C11
        else:
            latents_1CHW = latents_1CHW / vae.config.scaling_factor
        pixels_13HW = vae.decode(latents_1CHW, return_dict=False)[0]
    image: Image.Image = pipeline.image_processor.postprocess(pixels_13HW, output_type="pil")[0]
    return image


def _conditions(stage: Stage, rows: Sequence[Row], embeddings: Sequence[PromptEmbeddings], guidances: Sequence[Guidance]) -> dict[str, Any]:
    """What the UNet is told of each row, in the rows' order."""
    words = [embeddings[row.picture].of(row.branch) for row in rows]
    dim = stage.pipeline.unet.config.time_cond_proj_dim
    timestep_cond = None
    if dim is not None:
        scales_R = torch.tensor([guidances[row.picture].guidance_scale - 1 for row in rows])
        timestep_cond = stage.pipeline.get_guidance_scale_embedding(scales_R, embedding_dim=dim).to(stage.like)
    return {
        "encoder_hidden_states": torch.cat([embeds for embeds, _ in words]).to(stage.like),
        "added_cond_kwargs": {
            "text_embeds": torch.cat([pooled for _, pooled in words]).to(stage.like),
            "time_ids": torch.cat([stage.time_ids[row.branch] for row in rows]),
        },
        "timestep_cond": timestep_cond,
    }


def _first_weight(module: Any) -> Tensor:
    """diffusers' own `device` and `dtype` walk through all modules, which a small model feels."""
    weight: Tensor = next(module.parameters())
    return weight


def _sigma(scheduler: Any) -> float:
    """Noise level that the scheduler has come to; 0 where it does not tell."""
    sigmas, index = getattr(scheduler, "sigmas", None), getattr(scheduler, "step_index", None)
    return float(sigmas[index]) if sigmas is not None and index is not None and index < len(sigmas) else 0.0


@contextmanager
def _precise(vae: AutoencoderKL) -> Iterator[None]:
    """float32 inside where the VAE overflows in float16; afterwards as it was, whatever happens."""
    dtype = _first_weight(vae).dtype
    try:
        if dtype == torch.float16 and vae.config.force_upcast:
            vae.to(dtype=torch.float32)
        yield
    finally:
        if _first_weight(vae).dtype != dtype:
            vae.to(dtype=dtype)
