"""The toy's parts: SDXL's own classes with small numbers, initialised for a short training, saved as SDXL is.

Knows nothing of pictures, captions or training.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from daemon.toy import SIZE

TEXT_WIDTH, TEXT_2_WIDTH = 64, 96
"""Hidden sizes of text_encoder and text_encoder_2; the second is also its projection's."""

UNET_CHANNELS, UNET_HEADS = (32, 64, 112), (2, 4, 4)
"""Width and number of heads of each level (diffusers calls the number of heads attention_head_dim)."""

LATENT_SIZE = SIZE // 4
TIME_ID_CHANNELS = 32
BASE_TIME_IDS = (SIZE, SIZE, 0, 0, SIZE, SIZE)
"""original size, crop, target size: what the pipeline sends at its default size."""

REFINER_TIME_IDS = (SIZE, SIZE, 0, 0, 6.0)
"""original size, crop, aesthetic score: what the refiner's pipeline sends at its default score."""

_POSTERIOR_LOG_VARIANCE = -6.0


def make_vae() -> AutoencoderKL:
    """AutoencoderKL, (B, 3, 64, 64) in -1..1 <-> latents (B, 4, 16, 16); posterior of a small constant variance."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 24, 48),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=1.0,
        force_upcast=False,
    )
    _initialise_vae(vae)
    return vae


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The first encoder, as OpenAI's CLIP (quick_gelu): hidden states (B, 77, 64)."""
    encoder = CLIPTextModel(_text_config(tokenizer, TEXT_WIDTH, num_heads=4, activation="quick_gelu"))
    return _widened_embeddings(encoder)


def make_text_encoder_2(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """The second encoder, as OpenCLIP's (gelu): hidden states (B, 77, 96), pooled projection (B, 96)."""
    config = _text_config(tokenizer, TEXT_2_WIDTH, num_heads=6, activation="gelu")
    return _widened_embeddings(CLIPTextModelWithProjection(config))


def make_unet(*, refiner: bool = False) -> UNet2DConditionModel:
    """SDXL's UNet, v-prediction on latents (B, 4, 16, 16): three levels, cross-attention in two, text_time."""
    num_time_ids = len(REFINER_TIME_IDS if refiner else BASE_TIME_IDS)
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=UNET_CHANNELS,
        layers_per_block=1,
        transformer_layers_per_block=1,
        attention_head_dim=UNET_HEADS,
        cross_attention_dim=TEXT_2_WIDTH if refiner else TEXT_WIDTH + TEXT_2_WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_ID_CHANNELS,
        projection_class_embeddings_input_dim=TIME_ID_CHANNELS * num_time_ids + TEXT_2_WIDTH,
        norm_num_groups=8,
    )
    _initialise_unet(unet)
    return unet


def make_scheduler() -> EulerDiscreteScheduler:
    """Euler, v-prediction, linear betas that end at almost pure noise, trailing spacing: 20 + 5 steps split exactly."""
    return EulerDiscreteScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )


def refiner_from_base(base: UNet2DConditionModel) -> UNet2DConditionModel:
    """A refiner's UNet that starts as the base: its cross-attention reads the second encoder only, one time id less."""
    refiner = make_unet(refiner=True)
    wanted, state = refiner.state_dict(), dict(base.state_dict())
    for name, weight in state.items():
        if name == "add_embedding.linear_1.weight":
            state[name] = weight[:, -wanted[name].shape[1] :]
        elif weight.shape != wanted[name].shape:
            state[name] = weight[:, TEXT_WIDTH:]
    refiner.load_state_dict(state)
    return refiner


def normalise_latents(vae: AutoencoderKL, latents_NCHW: Tensor) -> None:
    """Folds each latent channel's mean and deviation into the two 1 x 1 convolutions around the latents, in place.

    Afterwards latents have mean 0 and deviation 1, decoding is unchanged, and scaling_factor stays 1.
    """
    mean_C, std_C = latents_NCHW.mean((0, 2, 3)), latents_NCHW.std((0, 2, 3))
    quant, post = vae.quant_conv, vae.post_quant_conv
    with torch.no_grad():
        post.bias += (post.weight[:, :, 0, 0] * mean_C).sum(1)
        post.weight *= std_C.view(1, -1, 1, 1)
        quant.weight[:4] /= std_C.view(-1, 1, 1, 1)
        quant.bias[:4] = (quant.bias[:4] - mean_C) / std_C


def save_base(folder: Path, parts: dict[str, object]) -> None:
    """A complete StableDiffusionXLPipeline folder in fp16, as SDXL's base: no prompt means zeros."""
    pipeline = StableDiffusionXLPipeline(
        vae=parts["vae"],
        text_encoder=parts["text_encoder"],
        text_encoder_2=parts["text_encoder_2"],
        tokenizer=parts["tokenizer"],
        tokenizer_2=parts["tokenizer_2"],
        unet=parts["unet"],
        scheduler=make_scheduler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder)


def save_refiner(folder: Path, parts: dict[str, object]) -> None:
    """A complete StableDiffusionXLImg2ImgPipeline folder in fp16, as SDXL's refiner: one encoder, aesthetic scores."""
    pipeline = StableDiffusionXLImg2ImgPipeline(
        vae=parts["vae"],
        text_encoder=None,
        text_encoder_2=parts["text_encoder_2"],
        tokenizer=None,
        tokenizer_2=parts["tokenizer_2"],
        unet=parts["unet"],
        scheduler=make_scheduler(),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder)


def _text_config(tokenizer: CLIPTokenizer, width: int, num_heads: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=3,
        num_attention_heads=num_heads,
        hidden_act=activation,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _widened_embeddings(encoder: nn.Module) -> nn.Module:
    """Token embeddings ten times wider than CLIP's default: words must differ from the first step on."""
    nn.init.normal_(encoder.get_input_embeddings().weight, std=0.2)
    return encoder


def _initialise_vae(vae: AutoencoderKL) -> None:
    """Residual blocks start as the identity, linear paths keep their variance, biases spread over the activations.

    A flat patch normalises to zero: without spread biases every channel would see the same nothing there.
    """
    for name, module in vae.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            nn.init.normal_(module.weight, std=1 / math.sqrt(fan_in))
            nn.init.normal_(module.bias, std=1.0 if name.endswith("conv1") else 0.1)
            if name.endswith("conv2"):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.GroupNorm):
            nn.init.normal_(module.bias, std=0.7)
    quant = vae.quant_conv
    with torch.no_grad():
        quant.weight[4:] = 0
        quant.bias[4:] = _POSTERIOR_LOG_VARIANCE


def _initialise_unet(unet: UNet2DConditionModel) -> None:
    """Every residual branch starts at zero (Dhariwal & Nichol, 2021), so does the output."""
    for name, module in unet.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and name.endswith(("conv2", "proj_out", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
