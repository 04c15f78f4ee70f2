"""What training needs of the VAE and the text encoders, computed once: a posterior per image on disk, the prompt's embeddings in memory.

A posterior is (mean, std), not a sample: every step draws fresh latents from it. Everything under `cache/` may be deleted at any time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from daemon.engine.base import ModelIdentity
from daemon.files import write_atomic
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.errors import NegError
from daemon.training import tensors
from daemon.training.data.dataset import TrainingImage, fit, read_image
from daemon.training.objective.loss import Conditioning

FORMAT_VERSION = 1
MAX_RESIDENT_BYTES = 2**30

Posterior = tuple[Tensor, Tensor]
"""mean and std, both (C, H, W) float32 on the CPU, as the VAE gives them: not yet scaled."""


class Posteriors:
    """The images' posteriors by index: the first GiB of them in memory, the others read when they are drawn from."""

    def __init__(self, paths: Sequence[Path], shift_C11: Tensor, factor_C11: Tensor) -> None:
        self._paths = paths
        self._shift_C11, self._factor_C11 = shift_C11, factor_C11
        self._resident: dict[int, Posterior] = {}
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._paths)

    def keep(self, index: int, posterior: Posterior) -> None:
        """Hold one in memory if there is room."""
        num_bytes = sum(part.nbytes for part in posterior)
        if self._num_bytes + num_bytes <= MAX_RESIDENT_BYTES:
            self._resident[index] = posterior
            self._num_bytes += num_bytes

    def sample(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Fresh latents of these images, scaled for the UNet: (B, C, H, W) float32 on the CPU."""
        posteriors = [self._resident.get(index) or self._read(index) for index in indices]
        mean_BCHW = torch.stack([mean for mean, _ in posteriors])
        std_BCHW = torch.stack([std for _, std in posteriors])
        latents_BCHW = mean_BCHW + std_BCHW * torch.randn(mean_BCHW.shape, generator=generator)
        return (latents_BCHW - self._shift_C11) * self._factor_C11

    def _read(self, index: int) -> Posterior:
        posterior = read_posterior(self._paths[index])
        if posterior is None:
            hint = "Start it again: it goes on from its checkpoint."
            raise NegError("conflict", f"{self._paths[index].name} vanished from the cache while it was trained on.", hint, retryable=True)
        self.keep(index, posterior)
        return posterior


def encode_images(
    vae: Any,
    device: Any,
    images: Sequence[TrainingImage],
    identity: ModelIdentity,
    resolution: int,
    folder: Path,
    on_image: Callable[[int, int], None] = lambda index, num_images: None,
) -> Posteriors:
    """Posteriors of all images at `resolution` x `resolution`, read from `folder` or computed one by one in float32.

    `on_image(index, num_images)` is called before each and may raise. Raises `NegError` where the VAE gives no finite numbers.
    """
    paths = [folder / f"{posterior_key(image, identity, resolution)}.safetensors" for image in images]
    posteriors = Posteriors(paths, *latent_scale(vae.config))
    with _in_float32(vae):
        for index, (image, path) in enumerate(zip(images, paths, strict=True)):
            on_image(index, len(images))
            posterior = read_posterior(path)
            if posterior is None:
                posterior = _encode(vae, device, image, resolution)
                write_atomic(path, tensors.to_bytes({"mean": posterior[0], "std": posterior[1]}))
            posteriors.keep(index, posterior)
    return posteriors


def posterior_key(image: TrainingImage, identity: ModelIdentity, resolution: int) -> str:
    """Names a posterior by all that decides it: the file's content, the VAE, the precision its weights came in, the resolution."""
    return canonical_sha256(
        {
            "format": FORMAT_VERSION,
            "image": image.sha256,
            "vae": identity.vae_sha256 or identity.base_sha256,
            "torch_dtype": identity.torch_dtype,
            "resolution": resolution,
        }
    )


def read_posterior(path: Path) -> Posterior | None:
    """A stored posterior, or None where there is none that is whole and finite."""
    try:
        found = tensors.from_bytes(path.read_bytes())
        mean_CHW, std_CHW = found["mean"], found["std"]
    except (OSError, SafetensorError, KeyError):
        return None
    sound = mean_CHW.shape == std_CHW.shape and mean_CHW.dim() == 3 and all(part.dtype == torch.float32 for part in (mean_CHW, std_CHW))
    return (mean_CHW, std_CHW) if sound and _is_finite(mean_CHW, std_CHW) else None


def latent_scale(config: Any) -> tuple[Tensor, Tensor]:
    """(shift, factor), each (C, 1, 1): the UNet sees (latents - shift) * factor, from the VAE's config as diffusers reads it."""
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    zeros, ones = [0.0] * config.latent_channels, [1.0] * config.latent_channels
    shift_C11 = torch.tensor(mean if mean is not None else zeros).view(-1, 1, 1)
    std_C11 = torch.tensor(std if std is not None else ones).view(-1, 1, 1)
    return shift_C11, config.scaling_factor / std_C11


@torch.no_grad()
def encode_prompt(parts: Any, prompt: str) -> tuple[Conditioning, bool]:
    """The prompt's embeddings as the pipeline's unweighted ones, and whether it was too long and is cut at the encoders' length."""
    hidden_states, pooled, is_cut = [], None, False
    for tokenizer, text_encoder in ((parts.tokenizer, parts.text_encoder), (parts.tokenizer_2, parts.text_encoder_2)):
        length = tokenizer.model_max_length
        tokens = tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        is_cut = is_cut or len(tokenizer(prompt, verbose=False).input_ids) > length
        output = text_encoder(tokens.input_ids.to(parts.device), output_hidden_states=True)
        # The first output of the second encoder is its pooled projection; the last hidden layer is left out, as SDXL was trained.
        pooled = output[0]
        hidden_states.append(output.hidden_states[-2])
    return Conditioning(torch.concat(hidden_states, dim=-1), pooled.view(1, -1)), is_cut  # type: ignore[union-attr]


def to_pixels(image: Any, resolution: int) -> Tensor:
    """A PIL RGB picture -> (3, resolution, resolution) float32 in -1..1."""
    picture, _ = fit(image, resolution)
    pixels_HWC = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)
    return (pixels_HWC.permute(2, 0, 1) - 0.5) / 0.5


@torch.no_grad()
def _encode(vae: Any, device: Any, image: TrainingImage, resolution: int) -> Posterior:
    pixels_BCHW = to_pixels(read_image(image), resolution)[None].to(device)
    posterior = vae.encode(pixels_BCHW).latent_dist
    mean_CHW, std_CHW = posterior.mean[0].cpu(), posterior.std[0].cpu()
    if not _is_finite(mean_CHW, std_CHW):
        hint = "Set model.vae to one that stays finite, e.g. madebyollin/sdxl-vae-fp16-fix."
        raise NegError("invalid", f"The VAE turns {image.path.name} into numbers that are not finite.", hint)
    return mean_CHW.clone(), std_CHW.clone()


@contextlib.contextmanager
def _in_float32(vae: Any) -> Iterator[None]:
    """SDXL's own VAE overflows in float16; back and forth loses nothing."""
    dtype = vae.dtype
    # diffusers' own `to` warns of every cast.
    torch.nn.Module.to(vae, torch.float32)
    try:
        yield
    finally:
        torch.nn.Module.to(vae, dtype)


def _is_finite(*parts: Tensor) -> bool:
    return all(bool(torch.isfinite(part).all()) for part in parts)
