from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from daemon import models
from daemon.models import published
from daemon.models.single_file import config_folder
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ModelSpec


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cond_stage_model.transformer.text_model.x", "Stable Diffusion 1"),
        ("cond_stage_model.model.x", "Stable Diffusion 2"),
        ("double_blocks.0.x", "Flux"),
        ("unet.down.to_q.lora_A.weight", "LoRA"),
        ("model.diffusion_model.input_blocks.0.0.weight", "UNet without"),
        ("first_stage_model.encoder.conv_in.weight", "VAE"),
        ("x", "unknown"),
    ],
)
def test_other_checkpoints_are_told_by_name(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file({name: np.zeros(1, np.float32)}, path)
    with pytest.raises(NegError, match=words):
        models.check(ModelSpec(base=str(path), device="cpu"))


def test_a_checkpoint_without_a_vocabulary_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(NegError) as caught:
        config_folder(tmp_path / "mine.safetensors", "base", tmp_path)
    assert "vocab.json" in caught.value.detail.message
    assert "hf download" in caught.value.detail.hint


def test_published_configurations_are_written_once_beside_a_cached_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--openai--clip-vit-large-patch14"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "vocab.json").write_text('{"a</w>": 0}')
    (snapshot / "merges.txt").write_text("#version: 0.2\n")
    folder = config_folder(tmp_path / "mine.safetensors", "base", tmp_path)
    assert config_folder(tmp_path / "other.safetensors", "base", tmp_path) == folder
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        *published.BASE_FILES, *(f"{name}/{file}" for name in ("tokenizer", "tokenizer_2") for file in ("vocab.json", "merges.txt")),
    }  # fmt: skip
    assert json.loads((folder / "unet" / "config.json").read_text()) == published.UNET_BASE
