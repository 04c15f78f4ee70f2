"""The VAE's posteriors of images, computed once per view and kept on disk; everything below `folder` may be deleted at any time.

A posterior is (mean, std), not a sample: every step draws fresh latents from it. Knows nothing of batches, captions or steps.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from daemon.adapters import tensors
from daemon.engine.base import ModelIdentity
from daemon.engine.memory import at_work
from daemon.files import write_atomic
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.errors import NegError
from daemon.training.data.dataset import TrainingImage, read_image
from daemon.training.data.decoding import printable
from daemon.training.data.views import View, cut

FORMAT_VERSION = 2

Posterior = tuple[Tensor, Tensor]
"""mean and std, both (C, H, W) float32 on the CPU, as the VAE gives them: not yet scaled."""
Row = tuple[TrainingImage, View, bool]
"""An image, how it is cut, and whether its posterior is kept on disk: not that of a crop which hardly comes twice."""


class PosteriorCache:
    """Posteriors by image and view: from the disk when they are drawn, those that are not there from the VAE.

    None is kept in memory: the system keeps what it has room for of the files, and small tensors that stay, between the VAE's large ones
    that go, would leave a heap of holes.
    """

    def __init__(self, vae: Any, device: Any, identity: ModelIdentity, folder: Path) -> None:
        self._vae, self._device, self._identity, self._folder = vae, torch.device(device), identity, folder
        self._shift_C11, self._factor_C11 = latent_scale(vae.config)

    def sample(self, rows: Sequence[Row], generator: torch.Generator) -> Tensor:
        """Fresh latents of views of one size, scaled for the UNet: (B, C, H, W) float32 on the CPU."""
        posteriors = [self.posterior(*row) for row in rows]
        mean_BCHW = torch.stack([mean for mean, _ in posteriors])
        std_BCHW = torch.stack([std for _, std in posteriors])
        latents_BCHW = mean_BCHW + std_BCHW * torch.randn(mean_BCHW.shape, generator=generator)
        return (latents_BCHW - self._shift_C11) * self._factor_C11

    def posterior(self, image: TrainingImage, view: View, is_kept: bool = True) -> Posterior:
        """Mean and std of one view. Raises `NegError`: the file changed, or the VAE gives no finite numbers."""
        if not is_kept:
            return self._encode(image, view)
        path = self._folder / f"{posterior_key(image, view, self._identity, self._device)}.safetensors"
        found = read_posterior(path)
        if found is None:
            found = self._encode(image, view)
            write_posterior(path, found)
        return found

    @contextlib.contextmanager
    def encoding(self) -> Iterator[None]:
        """Have the VAE ready for many images: in float32, since SDXL's own overflows in float16."""
        with at_work(self._vae, self._device, torch.float32):
            yield

    @torch.no_grad()
    def _encode(self, image: TrainingImage, view: View) -> Posterior:
        # Alone and in full precision, so that neither the batch nor the caller's autocast changes a bit of it.
        pixels_1CHW = to_pixels(cut(read_image(image), view))[None]
        with self.encoding(), torch.autocast(self._device.type, enabled=False):
            posterior = self._vae.encode(pixels_1CHW.to(self._device)).latent_dist
            mean_CHW, std_CHW = posterior.mean[0].cpu().clone(), posterior.std[0].cpu().clone()
        if not _is_finite(mean_CHW, std_CHW):
            hint = "Set model.vae to one that stays finite, e.g. madebyollin/sdxl-vae-fp16-fix."
            raise NegError("invalid", f"The VAE turns {printable(image.path)} into numbers that are not finite.", hint)
        return mean_CHW, std_CHW


def posterior_key(image: TrainingImage, view: View, identity: ModelIdentity, device: Any) -> str:
    """Names a posterior by all that decides it: the file's content, the view, the VAE, its weights' precision, the kind of device."""
    return canonical_sha256(
        {
            "format": FORMAT_VERSION,
            "image": image.sha256,
            "size": view.size,
            "top_left": view.top_left,
            "is_flipped": view.is_flipped,
            "vae": identity.vae_sha256 or identity.base_sha256,
            "torch_dtype": identity.torch_dtype,
            "device": torch.device(device).type,
        }
    )


def write_posterior(path: Path, posterior: Posterior) -> None:
    """Store a posterior with its hash: it is written without waiting for the disk, which a power loss may leave with anything."""
    mean_CHW, std_CHW = posterior
    content = tensors.to_bytes({"mean": mean_CHW, "std": std_CHW}, {"sha256": _sha256(mean_CHW, std_CHW)})
    write_atomic(path, content, durable=False)


def read_posterior(path: Path) -> Posterior | None:
    """A stored posterior, or None where there is none that is whole."""
    try:
        content = path.read_bytes()
        found = tensors.from_bytes(content)
        mean_CHW, std_CHW = found["mean"], found["std"]
        length = int.from_bytes(content[:8], "little")
        sha256 = json.loads(content[8 : 8 + length])["__metadata__"]["sha256"]
    except (OSError, SafetensorError, KeyError):
        return None
    is_sound = mean_CHW.shape == std_CHW.shape and mean_CHW.dim() == 3 and all(part.dtype == torch.float32 for part in (mean_CHW, std_CHW))
    return (mean_CHW, std_CHW) if is_sound and sha256 == _sha256(mean_CHW, std_CHW) else None


def latent_scale(config: Any) -> tuple[Tensor, Tensor]:
    """(shift, factor), each (C, 1, 1): the UNet sees (latents - shift) * factor, from the VAE's config as diffusers reads it."""
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    zeros, ones = [0.0] * config.latent_channels, [1.0] * config.latent_channels
    shift_C11 = torch.tensor(mean if mean is not None else zeros).view(-1, 1, 1)
    std_C11 = torch.tensor(std if std is not None else ones).view(-1, 1, 1)
    return shift_C11, config.scaling_factor / std_C11


def to_pixels(picture: Image.Image) -> Tensor:
    """A PIL RGB picture -> (3, H, W) float32 in -1..1."""
    pixels_HWC = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)
    return (pixels_HWC.permute(2, 0, 1) - 0.5) / 0.5


def _sha256(*parts: Tensor) -> str:
    return hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts)).hexdigest()


def _is_finite(*parts: Tensor) -> bool:
    return all(bool(torch.isfinite(part).all()) for part in parts)
