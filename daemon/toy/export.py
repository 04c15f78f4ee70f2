"""The trained parts as the two folders that diffusers loads, swapped at once; and finished folders as a new start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from daemon.toy.architecture import make_vae, save_base, save_refiner
from daemon.toy.checkpoint import save_tensors
from daemon.toy.train_unet import base_parts, make_tokenizers, refiner_unet
from daemon.toy.train_vae import trained_vae


def export(folder: Path, weights_path: Path) -> None:
    """base/ and refiner/ from what the work folder holds so far: trained, half trained or, for a start, untrained."""
    tokenizer, tokenizer_2 = make_tokenizers(folder)
    parts: dict[str, object] = {**base_parts(folder), "tokenizer": tokenizer, "tokenizer_2": tokenizer_2}
    parts["vae"] = trained_vae(folder) if (folder / "vae-final.safetensors").exists() else make_vae()
    refiner = {**parts, "unet": refiner_unet(folder)}
    beside = weights_path.parent / f".{weights_path.name}-new"
    shutil.rmtree(beside, ignore_errors=True)
    save_base(beside / "base", parts)
    save_refiner(beside / "refiner", refiner)
    for config_path in beside.glob("*/text_encoder*/config.json"):
        _load_in_float32(config_path)
    for name in ("base", "refiner"):
        swap(beside / name, weights_path / name)
    shutil.rmtree(beside)


def adopt(folder: Path, weights_path: Path) -> None:
    """Makes an empty work folder go on from finished folders: their VAE, and their base as a checkpoint of no steps."""
    if (folder / "base.safetensors").exists():
        return
    classes: dict[str, type[nn.Module]] = {
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
        "unet": UNet2DConditionModel,
    }
    vae = AutoencoderKL.from_pretrained(weights_path / "base", subfolder="vae")
    save_tensors(folder / "vae-final.safetensors", vae.float().state_dict(), {})
    tensors: dict[str, Tensor] = {}
    for name, part in classes.items():
        loaded = part.from_pretrained(weights_path / "base", subfolder=name)
        for key, weight in loaded.float().named_parameters():
            tensors |= {f"{kind}/{name}.{key}": weight.clone() for kind in ("weight", "average")}
    save_tensors(folder / "base.safetensors", tensors, {"step": 0})


def _load_in_float32(config_path: Path) -> None:
    """Lets transformers load its fp16 file in float32 where no dtype is asked for, as diffusers does with its own."""
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config_path.write_text(json.dumps({**config, "dtype": "float32"}, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def swap(new: Path, place: Path) -> None:
    """Puts the folder `new` at `place`; what stood there goes. Both on one file system."""
    place.parent.mkdir(parents=True, exist_ok=True)
    old = new.with_name(f"{new.name}-old")
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)
