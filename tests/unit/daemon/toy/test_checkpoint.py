"""Checkpoints: what was saved comes back, and a reader never meets half a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from daemon.toy import checkpoint
from daemon.toy.checkpoint import load_tensors, save_tensors, write_atomically


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a.safetensors", {"weight": torch.arange(4.0)}, {"step": 7})
    tensors, facts = load_tensors(tmp_path / "a.safetensors")
    assert tensors["weight"].tolist() == [0, 1, 2, 3]
    assert facts == {"step": 7}


def test_a_write_that_dies_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def die(_descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint.os, "fsync", die)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
