"""Trains the toy's VAE on the drawn pictures: first on crops of 32 px, then on whole pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from daemon.toy.architecture import make_vae, normalise_latents
from daemon.toy.checkpoint import load_tensors, save_tensors
from daemon.toy.loop import Plan, Rank, averaged_weights, batches, chunks, train
from daemon.toy.pictures import read_pictures

NOISE = 0.05
"""Deviation of the noise put on latents while training: decoding must not hang on their last digits."""

NUM_NORMALISING = 1_500
"""Pictures whose latents give the mean and the deviation."""

_CROP, _CROPS_A_PICTURE = 32, 4


def as_tensor(pixels_NHWC: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in -1..1."""
    return torch.from_numpy(np.array(pixels_NHWC)).permute(0, 3, 1, 2).float() / 127.5 - 1


def reconstruction_loss(decoded: Tensor, pixels: Tensor) -> Tensor:
    """L1 + MSE + L1 of the differences to the right and lower neighbour (edges): two (B, 3, H, W) -> scalar."""
    error = decoded - pixels
    edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return error.abs().mean() + error.square().mean() + edges


def train_vae(plan: Plan, batch_size: int, rank: Rank, folder: Path) -> None:
    """Trains to the plan's end; `<folder>/vae.safetensors` is the checkpoint."""
    torch.manual_seed(plan.seed)
    vae = make_vae().to(rank.device)
    pictures, _ = read_pictures(folder)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        # Crops show more pictures for the same work; whole pictures at the end fix the statistics of the norms.
        whole = step >= 0.65 * plan.num_steps
        size = batch_size if whole else batch_size * _CROPS_A_PICTURE
        index = batches(len(pictures), size, generator).numpy()
        pixels = as_tensor(pictures[index] if whole else _crops(pictures, index, generator)).to(rank.device)
        latents = vae.encode(pixels).latent_dist.mode()
        noise = torch.randn(latents.shape, generator=generator).to(rank.device)
        decoded = vae.decode(latents + NOISE * noise).sample
        return reconstruction_loss(decoded, pixels) + 1e-3 * latents.square().mean()

    train(plan, {"vae": vae}, loss, rank, folder)


@torch.no_grad()
def finish_vae(folder: Path, device: str) -> None:
    """`vae-final.safetensors`: the averaged VAE, its latents scaled to mean 0 and deviation 1 on some pictures."""
    if (folder / "vae-final.safetensors").exists():
        return
    vae = make_vae().to(device).eval()
    vae.load_state_dict(averaged_weights(folder / "vae.safetensors", "vae"))
    normalise_latents(vae, encode(vae, read_pictures(folder)[0][:NUM_NORMALISING]).to(device))
    save_tensors(folder / "vae-final.safetensors", vae.state_dict(), {})


@torch.no_grad()
def write_latents(folder: Path, rank: Rank) -> None:
    """This rank's stretch of the pictures, encoded by the finished VAE: `latents-<rank>-of-<world>.safetensors`."""
    path = folder / f"latents-{rank.index}-of-{rank.world}.safetensors"
    if not path.exists():
        pictures, _ = read_pictures(folder)
        stretch = slice(*(len(pictures) * edge // rank.world for edge in (rank.index, rank.index + 1)))
        latents = encode(trained_vae(folder).to(rank.device), pictures[stretch])
        save_tensors(path, {"latents": latents}, {})


def read_latents(folder: Path) -> Tensor:
    """All latents, (N, 4, 16, 16) float32, in the order of the pictures."""
    for world in range(1, 65):
        paths = [folder / f"latents-{rank}-of-{world}.safetensors" for rank in range(world)]
        if all(path.exists() for path in paths):
            return torch.cat([load_tensors(path)[0]["latents"] for path in paths])
    raise FileNotFoundError(f"no complete latents in {folder}: run the stage latents")


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures_NHWC: np.ndarray) -> Tensor:
    """(N, 64, 64, 3) uint8 -> latents (N, 4, 16, 16) float32 on the CPU."""
    pieces = []
    for piece in chunks(len(pictures_NHWC), 64):
        pixels = as_tensor(pictures_NHWC[piece]).to(vae.device)
        pieces.append(vae.encode(pixels).latent_dist.mode().cpu())
    return torch.cat(pieces)


def trained_vae(folder: Path) -> AutoencoderKL:
    """The finished VAE of a work folder, float32."""
    vae = make_vae().eval()
    vae.load_state_dict(load_tensors(folder / "vae-final.safetensors")[0])
    return vae


def _crops(pictures_NHWC: np.ndarray, index: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """One random crop of each picture named: (len(index), 32, 32, 3) uint8."""
    room = pictures_NHWC.shape[1] - _CROP + 1
    corners = torch.randint(room, (len(index), 2), generator=generator).numpy()
    return np.stack([pictures_NHWC[i, y : y + _CROP, x : x + _CROP] for i, (y, x) in zip(index, corners, strict=True)])
