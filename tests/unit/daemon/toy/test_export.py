"""Export: folders that diffusers loads, swapped whole."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

from daemon.files import sha256_file
from daemon.toy.export import adopt, export, swap
from daemon.toy.loop import steps_done


def test_untrained_parts_already_load_as_pipelines(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    export(tmp_path / "work", tmp_path / "weights")
    base = StableDiffusionXLPipeline.from_pretrained(tmp_path / "weights/base")
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(tmp_path / "weights/refiner")
    assert {part.dtype for part in (base.unet, base.vae, base.text_encoder, base.text_encoder_2)} == {torch.float32}
    assert base.config.force_zeros_for_empty_prompt
    assert refiner.config.requires_aesthetics_score
    assert torch.equal(base.vae.decoder.conv_in.weight, refiner.vae.decoder.conv_in.weight)
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == ["base", "refiner"]


def test_a_swap_replaces_the_whole_folder(tmp_path: Path) -> None:
    for name in ("new", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").touch()
    swap(tmp_path / "new", tmp_path / "place")
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["new.txt"]
    assert not (tmp_path / "new-old").exists()


def test_finished_folders_are_a_new_start(tmp_path: Path) -> None:
    """What is adopted and exported again is the same model."""
    for name in ("work", "next"):
        (tmp_path / name).mkdir()
    export(tmp_path / "work", tmp_path / "weights")
    adopt(tmp_path / "next", tmp_path / "weights")
    assert steps_done(tmp_path / "next/base.safetensors") == 0
    export(tmp_path / "next", tmp_path / "again")
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        first, again = (next((tmp_path / name / "base" / part).glob("*.safetensors")) for name in ("weights", "again"))
        assert sha256_file(first) == sha256_file(again), part


def test_a_start_does_not_undo_a_training_under_way(tmp_path: Path) -> None:
    export(tmp_path, tmp_path / "weights")
    (tmp_path / "base.safetensors").write_bytes(b"under way")
    adopt(tmp_path, tmp_path / "weights")
    assert (tmp_path / "base.safetensors").read_bytes() == b"under way"
