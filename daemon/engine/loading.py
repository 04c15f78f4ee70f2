"""Reads a model's parts from disk with diffusers' and transformers' own loaders. Never online: every path is local."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from daemon.models import PARTS, vae_folder
from daemon.models.single_file import config_folder
from daemon.models.sources import Dtype, ModelSource, Role, read_json, weight_files
from daemon.protocol.errors import NegError

MODULES: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
PIPELINES = {"base": StableDiffusionXLPipeline, "refiner": StableDiffusionXLImg2ImgPipeline}


def load_parts(source: ModelSource, role: Role, wanted: Collection[str], dtype: Dtype, device: str, cache_path: Path) -> dict[str, Any]:
    """The named components, modules in eval mode without gradients on `device` in `dtype`; raises `NegError` where a file does not fit."""
    if not wanted:
        return {}
    try:
        loaded = _from_file(source, role, wanted, dtype, cache_path) if source.kind == "file" else _from_folder(source, role, wanted, dtype)
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise NegError("corrupt", f"{source.reference} could not be loaded: {error}"[:1000], "Download or export it again.") from error
    for part in loaded.values():
        if isinstance(part, nn.Module):
            part.to(device).eval().requires_grad_(False)
    return loaded


def new_scheduler(scheduler: Any) -> Any:
    """A scheduler of the same configuration that has seen nothing."""
    return type(scheduler).from_config(scheduler.config)


def _from_folder(source: ModelSource, role: Role, wanted: Collection[str], dtype: Dtype) -> dict[str, Any]:
    return {name: _part_from_folder(vae_folder(source.path) if role == "vae" else source.path / name, name, dtype) for name in wanted}


def _part_from_folder(folder: Path, name: str, dtype: Dtype) -> Any:
    if name.startswith("tokenizer"):
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    if name == "scheduler":
        return _load_scheduler(folder)
    variant = "fp16" if ".fp16" in weight_files(folder, dtype)[0].name else None
    precision = {"torch_dtype": getattr(torch, dtype)} if name in ("unet", "vae") else {"dtype": getattr(torch, dtype)}
    return MODULES[name].from_pretrained(folder, **precision, variant=variant, use_safetensors=True, local_files_only=True)


def _load_scheduler(folder: Path) -> Any:
    name = read_json(folder / "scheduler_config.json").get("_class_name", "")
    scheduler_class: Any = getattr(diffusers, str(name), None)
    if not isinstance(scheduler_class, type) or not issubclass(scheduler_class, diffusers.SchedulerMixin):
        raise NegError("incompatible", f"{folder} names {name!r}, which is no scheduler of diffusers.")
    loaded: Any = scheduler_class
    return loaded.from_pretrained(folder, local_files_only=True)


def _from_file(source: ModelSource, role: Role, wanted: Collection[str], dtype: Dtype, cache_path: Path) -> dict[str, Any]:
    config = config_folder(source.path, role, cache_path)
    precision = getattr(torch, dtype)
    if role == "vae":
        subfolder = "vae" if (config / "vae" / "config.json").is_file() else None
        vae = AutoencoderKL.from_single_file(
            str(source.path), config=str(config), subfolder=subfolder, torch_dtype=precision, local_files_only=True
        )
        return {"vae": vae}
    # A component passed as None is not loaded.
    unwanted: dict[str, None] = {name: None for name in PARTS["base"] if name not in wanted}
    pipeline = PIPELINES[role].from_single_file(
        str(source.path), config=str(config), torch_dtype=precision, local_files_only=True, add_watermarker=False, **unwanted
    )
    return {name: getattr(pipeline, name) for name in wanted}
