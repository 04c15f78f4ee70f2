"""A tiny work folder, trained for a step or two: enough to see every stage run."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.toy.loop import Plan, Rank
from daemon.toy.pictures import write_pictures
from daemon.toy.train_vae import finish_vae, train_vae, write_latents

NUM_PICTURES = 12


@pytest.fixture(scope="session")
def toy_work_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a VAE of one step and its latents."""
    folder = tmp_path_factory.mktemp("toy")
    write_pictures(folder, NUM_PICTURES, seed=0)
    train_vae(Plan("vae", 1, 1e-3, tail_steps=1), 1, Rank(), folder)
    finish_vae(folder, "cpu")
    write_latents(folder, Rank())
    return folder
