"""Checkpoints: what was saved comes back."""

from __future__ import annotations

from pathlib import Path

import torch

from daemon.toy.checkpoint import load_tensors, save_tensors


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a.safetensors", {"weight": torch.arange(4.0)}, {"step": 7})
    tensors, facts = load_tensors(tmp_path / "a.safetensors")
    assert tensors["weight"].tolist() == [0, 1, 2, 3]
    assert facts == {"step": 7}
