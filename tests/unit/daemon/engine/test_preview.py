from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from daemon.protocol.specs import ModelSpec


@pytest.fixture(scope="module")
def vae(model: ModelSpec) -> Any:
    import torch
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(model.base, subfolder="vae", torch_dtype=torch.float32)


def test_the_fit_touches_neither_the_vae_nor_the_global_seed(vae: Any) -> None:
    import torch

    from daemon.engine.preview import fit_linear_decoder

    before = [parameter.clone() for parameter in vae.parameters()]
    state = torch.get_rng_state()
    first, second = fit_linear_decoder(vae), fit_linear_decoder(vae)
    assert first.shape == (5, 3)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, other) for one, other in zip(before, vae.parameters(), strict=True))


def test_the_fit_is_better_than_a_constant_colour(vae: Any) -> None:
    import torch

    from daemon.engine.preview import fit_linear_decoder

    decoder = fit_linear_decoder(vae)
    colours = torch.rand(8, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    pixels = torch.nn.functional.interpolate(colours, size=64, mode="nearest")
    with torch.no_grad():
        latents = vae.encode(pixels * 2 - 1).latent_dist.mode() * vae.config.scaling_factor
    found = latents.permute(0, 2, 3, 1) @ decoder[:-1] + decoder[-1]
    target = torch.nn.functional.interpolate(colours, size=latents.shape[-1], mode="nearest").permute(0, 2, 3, 1)
    assert (found - target).square().mean() < target.var()


def test_previews_keep_proportions_and_limits() -> None:
    import torch

    from daemon.engine.preview import MAX_BYTES, preview_jpeg

    decoder = torch.zeros(5, 3)
    decoder[0, 0] = 1.0
    jpeg = preview_jpeg(torch.randn(1, 4, 64, 128), decoder, 0.0, 1024, 512)
    assert len(jpeg) <= MAX_BYTES
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.size == (256, 128)
    assert preview_jpeg(torch.full((1, 4, 8, 8), float("nan")), decoder, 14.6, 64, 64)


def test_a_picture_hard_to_press_becomes_smaller_until_it_fits() -> None:
    from daemon.engine.preview import MAX_BYTES, small_jpeg

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8))
    jpeg = small_jpeg(noise)
    assert len(jpeg) <= MAX_BYTES
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.width < 700
