"""Latents to a rough picture without the VAE: a linear map per VAE, fitted once by least squares; small JPEGs."""

from __future__ import annotations

import io
import math

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

MAX_PIXELS = 256
MAX_BYTES = 32 * 1024


@torch.no_grad()
def fit_linear_decoder(vae: AutoencoderKL) -> Tensor:
    """Least squares from latents to colours on drawn patches: (5, 3) float32 on the CPU, the last row an offset; colours in 0..1.

    The latents are those that pipelines denoise (scaled, shifted). The VAE is left as it was, and no global seed is touched.
    """
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    generator = torch.Generator("cpu").manual_seed(0)
    coarse = torch.rand(16, 3, 4, 4, generator=generator)
    colours = torch.nn.functional.interpolate(coarse, size=8, mode="bilinear", align_corners=False)
    pixels = torch.nn.functional.interpolate(colours, scale_factor=factor, mode="nearest") * 2 - 1
    dtype = vae.dtype
    upcast = dtype == torch.float16 and vae.config.force_upcast
    try:
        if upcast:
            vae.to(dtype=torch.float32)
        latents_NCHW = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode().float().cpu()
    finally:
        if upcast:
            vae.to(dtype=dtype)
    points_PC = (_scaled(latents_NCHW, vae)).permute(0, 2, 3, 1).reshape(-1, latents_NCHW.shape[1])
    targets_P3 = colours.permute(0, 2, 3, 1).reshape(-1, 3)
    ones_P1 = torch.ones(len(points_PC), 1)
    return torch.linalg.lstsq(torch.cat([points_PC, ones_P1], dim=1).double(), targets_P3.double()).solution.float()


def _scaled(latents_NCHW: Tensor, vae: AutoencoderKL) -> Tensor:
    mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is not None and std is not None:
        mean_1C11, std_1C11 = torch.tensor(mean).view(1, -1, 1, 1), torch.tensor(std).view(1, -1, 1, 1)
        return (latents_NCHW - mean_1C11) * float(vae.config.scaling_factor) / std_1C11
    return latents_NCHW * float(vae.config.scaling_factor)


def preview_jpeg(latents_1CHW: Tensor, decoder_53: Tensor, sigma: float, width: int, height: int) -> bytes:
    """Latents of noise level `sigma` -> a JPEG of at most `MAX_PIXELS` a side and `MAX_BYTES`, in the picture's proportions."""
    latents_HWC = latents_1CHW[0].float().cpu().permute(1, 2, 0) / math.sqrt(sigma**2 + 1)
    colours_HW3 = (latents_HWC @ decoder_53[:-1] + decoder_53[-1]).nan_to_num().clamp(0, 1)
    image = Image.fromarray((colours_HW3 * 255).round().to(torch.uint8).numpy())
    scale = min(1.0, MAX_PIXELS / max(width, height))
    return small_jpeg(image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR))


def small_jpeg(image: Image.Image) -> bytes:
    """A JPEG of at most `MAX_BYTES`: quality gives way first, then size."""
    quality = 85
    while True:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= MAX_BYTES:
            return buffer.getvalue()
        if quality > 25:
            quality -= 15
        else:
            image = image.resize((max(1, image.width // 2), max(1, image.height // 2)))
