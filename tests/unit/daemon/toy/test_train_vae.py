"""Training the VAE: pictures in, latents of an even scale out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from daemon.toy.checkpoint import load_tensors, save_tensors
from daemon.toy.loop import Rank, steps_done
from daemon.toy.train_vae import as_tensor, read_latents, reconstruction_loss, write_latents


def test_pixels_become_a_tensor_between_minus_one_and_one() -> None:
    pixels = as_tensor(np.array([[[[0, 255, 0]]]], np.uint8))
    assert pixels.shape == (1, 3, 1, 1)
    assert pixels.flatten().tolist() == [-1, 1, -1]


def test_a_perfect_picture_costs_nothing_and_a_soft_edge_something() -> None:
    picture = torch.zeros(1, 3, 8, 8)
    picture[..., 4:] = 1
    assert reconstruction_loss(picture, picture) == 0
    assert reconstruction_loss(picture.mean(3, keepdim=True).expand_as(picture), picture) > 0.3


def test_latents_come_out_scaled_and_in_order(toy_work_path: Path) -> None:
    latents = read_latents(toy_work_path)
    assert steps_done(toy_work_path / "vae.safetensors") == 1
    assert latents.shape == (12, 4, 16, 16)
    assert latents.std((0, 2, 3)) == pytest.approx(torch.ones(4), abs=0.01)


def test_ranks_share_the_encoding(toy_work_path: Path, tmp_path: Path) -> None:
    for name in ("pictures.npy", "captions.json", "vae-final.safetensors"):
        (tmp_path / name).symlink_to(toy_work_path / name)
    for rank in range(2):
        write_latents(tmp_path, Rank(rank, 2))
    assert torch.allclose(read_latents(tmp_path), read_latents(toy_work_path), atol=1e-5)


def test_incomplete_latents_are_refused_in_words(tmp_path: Path) -> None:
    save_tensors(tmp_path / "latents-0-of-2.safetensors", {"latents": torch.zeros(1)}, {})
    assert load_tensors(tmp_path / "latents-0-of-2.safetensors")[0]["latents"].shape == (1,)
    with pytest.raises(FileNotFoundError, match="run the stage latents"):
        read_latents(tmp_path)
