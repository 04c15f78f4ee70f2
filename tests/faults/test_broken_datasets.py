"""Folders as people have them: broken, empty, tiny, huge. What can be used is trained on; what cannot is refused by name."""

from __future__ import annotations

import gc
import io
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from daemon.engine.base import ModelIdentity
from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.data import decoding
from daemon.training.data.dataset import Dataset, read_dataset
from tests.faults.workshop import Workshop, seeded

IDENTITY = ModelIdentity(base_sha256="b" * 64, torch_dtype="float32")
SPEC = TrainingSpec(resolution=16, train_batch_size=4, gradient_accumulation_steps=1)


def picture(seed: int, width: int = 24, height: int = 24) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def bad_files(folder: Path) -> dict[str, str]:
    """Fill `folder` with everything that cannot be trained on; returns what must be told of each."""
    good = encoded(picture(0))
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = {
        "cut.png": good[:-40],
        "cut.jpg": encoded(picture(1, 64, 64), "JPEG")[:-200],
        "cut.webp": encoded(picture(2, 64, 64), "WEBP")[:-60],
        "text.png": b"no picture",
        "empty.webp": b"",
        "a gif in disguise.png": encoded(picture(3), "GIF"),
        "page.jpeg": b"<!doctype html><html></html>",
        "header only.png": good[:33],
        "turned.jpg": encoded(picture(4), "JPEG", exif=exif)[:300],
    }
    told = dict.fromkeys(contents, "it cannot be decoded")
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "animation.gif").write_bytes(encoded(picture(3), "GIF"))
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "link.png").symlink_to(folder / "0.png")
    (folder / "dangling.jpg").symlink_to(folder / "nothing")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "device.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    Image.new("1", (8000, 8000)).save(folder / "large.png")
    Image.new("1", (14000, 13000)).save(folder / "bomb.png")
    Image.new("1", (20000, 2)).save(folder / "thin.png")
    (folder / "heavy.png").touch()
    os.truncate(folder / "heavy.png", decoding.MAX_BYTES + 1)
    odd = os.fsdecode(b"\xff\x1b[31m\n.png")
    (folder / odd).write_bytes(b"x")
    told |= dict.fromkeys(("link.png", "dangling.jpg", "loop.png", "device.png"), "it is a symbolic link")
    told |= dict.fromkeys(("pipe.png", "folder.png"), "it is not a regular file")
    told |= dict.fromkeys(("animation.gif", "photo.heic"), "it is not PNG, JPEG or WebP")
    told |= dict.fromkeys(("large.png", "bomb.png"), "it has more than 50 million pixels")
    return told | {"thin.png": "too long and thin", "heavy.png": "64 are allowed", decoding.printable(Path(odd)): "it cannot be decoded"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "dataset"
    path.mkdir()
    return path


def test_a_folder_of_broken_files_is_refused_by_name_and_the_rest_goes_on(folder: Path) -> None:
    told = bad_files(folder)
    with pytest.raises(NegError, match="has no images to train on") as caught:
        read_dataset(folder.parent, SPEC)
    assert f"{len(told)} unusable" in str(caught.value)
    for number in range(3):
        picture(number).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("not an image, so not spoken of")
    found = read_dataset(folder.parent, SPEC)
    assert sorted(image.path.name for image in found.images) == ["0.png", "1.png", "2.png"]
    said = dict(text.split(" is left out: ") for text in found.refused)
    assert set(said) == set(told)
    assert {name: words for name, words in told.items() if words not in said[name]} == {}
    assert all(text.isprintable() for text in found.refused)


def test_any_damage_to_any_format_is_an_image_or_a_sentence(folder: Path) -> None:
    chance = seeded("damaged images")
    originals = {
        "png": encoded(picture(0).convert("P"), transparency=3),
        "jpg": encoded(picture(1).convert("CMYK"), "JPEG"),
        "webp": encoded(picture(2).convert("RGBA"), "WEBP", lossless=True),
    }
    for number in range(120):
        suffix = chance.choice(sorted(originals))
        (folder / f"{number}.{suffix}").write_bytes(_damaged(originals[suffix], chance))
    picture(9).save(folder / "good.png")
    found = read_dataset(folder.parent, SPEC)
    assert len(found.images) + len(found.refused) == 121
    assert "good.png" in {image.path.name for image in found.images}


def _damaged(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.randrange(1, 9)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged[: chance.choice((None, chance.randrange(len(damaged))))])


@pytest.mark.parametrize("damage", [lambda path: path.mkdir(), os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_captions_that_are_no_files_never_hang(folder: Path, damage: Callable[[Path], object]) -> None:
    picture(0).save(folder / "a.png")
    picture(1).save(folder / "b.png")
    (folder / "b.txt").write_text("a cat")
    damage(folder / "a.txt")
    found = read_dataset(folder.parent, TrainingSpec(captions="txt"))
    assert [image.path.name for image in found.images] == ["b.png"]
    assert "a.png is left out: its caption a.txt is not usable" in found.refused[0]
    damage(folder / "metadata.jsonl")
    with pytest.raises(NegError, match=r"metadata.jsonl cannot be read"):
        read_dataset(folder.parent, TrainingSpec(captions="metadata"))


def small_images(folder: Path, number: int) -> None:
    """So many different files quickly: a PNG may be followed by anything."""
    content = encoded(picture(0, 16, 16))
    for index in range(number):
        (folder / f"{index:05d}.png").write_bytes(content + index.to_bytes(4, "big"))


def counting_parts() -> tuple[Any, list[int]]:
    """A model of nothing but the plainest VAE, and a list that grows with every image it is asked for."""
    import torch

    asked: list[int] = []

    class PlainVae(torch.nn.Module):
        config = SimpleNamespace(latent_channels=3, scaling_factor=1.0)

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def encode(self, pixels_BCHW: torch.Tensor) -> SimpleNamespace:
            asked.append(len(pixels_BCHW))
            mean_BCHW = torch.nn.functional.avg_pool2d(pixels_BCHW * self.weight, 8)
            return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean_BCHW, std=torch.ones_like(mean_BCHW)))

    nothing = torch.nn.Identity()
    return SimpleNamespace(vae=PlainVae(), unet=nothing, text_encoder=nothing, text_encoder_2=nothing, device="cpu"), asked


def num_tensors() -> int:
    import torch

    gc.collect()
    return sum(isinstance(one, torch.Tensor) for one in gc.get_objects())


def test_ten_thousand_images_are_read_encoded_once_and_not_held_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from daemon.training.data.batches import prepare_batches

    small_images(folder, 10_000)
    decoded: list[int] = []
    decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda content: decoded.append(1) or decode(content))
    dataset = read_dataset(folder.parent, SPEC)
    assert (len(dataset.images), len(decoded)) == (10_000, 10_000)
    assert read_dataset(folder.parent, SPEC) == dataset
    assert len(decoded) == 10_000
    parts, asked = counting_parts()
    before = num_tensors()
    batches = prepare_batches(dataset, SPEC, parts, IDENTITY, folder.parent / "cache" / "latents")
    assert len(asked) == 10_000
    for step in range(1, 200):
        batches.draw(step, 0)
    assert len(asked) == 10_000
    assert num_tensors() < before + 100


def test_three_images_fill_every_batch_alike(folder: Path) -> None:
    from daemon.training.data.batches import prepare_batches

    for number in range(3):
        picture(number).save(folder / f"{number}.png")
    parts, asked = counting_parts()
    dataset: Dataset = read_dataset(folder.parent, SPEC)
    batches = prepare_batches(dataset, SPEC, parts, IDENTITY, folder.parent / "cache" / "latents")
    assert {len(batches.draw(step, 0).captions) for step in range(1, 10)} == {4}
    assert len(asked) == 3


def negtui(workshop: Workshop, *argv: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "negtui.cli", "--workspace", str(workshop.folder), *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    return done.returncode, done.stdout + done.stderr


def test_negtui_train_on_ones_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real daemon, worker and toy: buckets, crops, flips and class images that the toy paints for itself."""
    workshop = Workshop(tmp_path / "w", monkeypatch)
    photos, empty = tmp_path / "photos", tmp_path / "empty"
    photos.mkdir()
    empty.mkdir()
    told = bad_files(photos)
    for number, (width, height) in enumerate(((64, 64), (64, 130), (100, 60))):
        picture(number, width, height).save(photos / f"{number}.png")
    changes = {
        "max_train_steps": 3,
        "aspect_ratio_buckets": "true",
        "bucket_step": 8,
        "center_crop": "false",
        "random_flip": "true",
        "with_prior_preservation": "true",
        "class_prompt": "a red circle",
        "num_class_images": 2,
    }
    settings = [part for name, value in changes.items() for part in ("--set", f"training.{name}={value}")]
    try:
        code, text = negtui(workshop, "new", "mine", "--template", "toy", *settings)
        assert code == 0, text
        code, text = negtui(workshop, "train", "mine", "--images", str(photos))
        assert code == 0, text
        assert "is left out" in text
        assert len(told) > 20
        assert "more files of the dataset are left out" in text
        session = workshop.session_path("mine")
        assert (session / "adapters" / "wrong" / "pytorch_lora_weights.safetensors").is_file()
        assert len(list((session / "class_images").glob("*.png"))) == 2
        code, text = negtui(workshop, "train", "mine", "--images", str(photos))
        assert code == 0, text
        assert "Nothing had to be computed" in text
        code, text = negtui(workshop, "train", "mine", "--images", str(empty))
        assert code == 1
        assert f"{empty} has no images to train on" in text
        _refuse_the_impossible(workshop)
        _stop_at_a_loss_that_is_no_number(workshop, photos)
    finally:
        workshop.kill_front()


def _refuse_the_impossible(workshop: Workshop) -> None:
    for setting, words in (
        ("training.rank=0", "training.rank is 0; allowed: a whole number from 1 to 1024"),
        ("training.optimizer=adamw8bit", "training.optimizer adamw8bit needs an NVIDIA GPU"),
        ("training.timestep_sampling=lognormal", "training.timestep_sampling"),
    ):
        code, text = negtui(workshop, "set", "mine", setting)
        assert code == 2, text
        assert words in text


def _stop_at_a_loss_that_is_no_number(workshop: Workshop, photos: Path) -> None:
    """It names the step, keeps the checkpoint of the step before, and leaves the adapter of the run before in its place."""
    weights = workshop.session_path("mine") / "adapters" / "wrong" / "pytorch_lora_weights.safetensors"
    before = weights.read_bytes()
    code, text = negtui(workshop, "set", "mine", "training.learning_rate=1e15", "training.checkpointing_steps=1")
    assert code == 0, text
    code, text = negtui(workshop, "train", "mine", "--images", str(photos))
    assert code == 1
    assert "Training stopped at step 2 of 3: the loss became nan. The checkpoint of step 1 is kept. Lower learning_rate" in text
    assert "Traceback" not in text
    assert weights.read_bytes() == before
