"""Adapters of every kind for the tests of this folder: what the tiny SDXL says with them, and a plan to save them by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_sdxl import IDENTITY, make_job

from daemon.training.data.dataset import Dataset, TrainingImage
from daemon.training.plan import TrainingPlan, fingerprint

KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "loha": {"peft_type": "loha"},
    "lokr": {"peft_type": "lokr"},
}
EVERYWHERE = {"target_modules": "attention+feed_forward+convolution", "train_text_encoder": True}
MODULES = ("unet", "text_encoder", "text_encoder_2")
DATASET = Dataset((TrainingImage(Path("a.png"), "a" * 64, (32, 32)),))


def make_plan(session_path: Path, **changes: object) -> TrainingPlan:
    job = make_job(**changes)
    return TrainingPlan(job, "j", session_path, DATASET, IDENTITY, fingerprint(job.training, DATASET.sha256, IDENTITY))


def outputs(parts: Any) -> list[torch.Tensor]:
    """Predictions of UNet and both text encoders, in eval mode."""
    draw = torch.Generator().manual_seed(3)
    sample, embeds = torch.randn(2, 4, 16, 16, generator=draw), torch.randn(2, 12, 32, generator=draw)
    conditions = {"text_embeds": torch.randn(2, 16, generator=draw), "time_ids": torch.full((2, 6), 32.0)}
    ids = torch.tensor([[1, 5, 9, 30, 2, 0, 0, 0, 0, 0, 0, 0]])
    were_training = {name: getattr(parts, name).training for name in MODULES}
    with torch.no_grad():
        for name in MODULES:
            getattr(parts, name).eval()
        cast = {name: value.to(parts.unet.dtype) for name, value in conditions.items()}
        found = [parts.unet(sample.to(parts.unet.dtype), torch.tensor([5, 900]), embeds.to(parts.unet.dtype), added_cond_kwargs=cast)[0]]
        for name in MODULES[1:]:
            found.append(getattr(parts, name)(ids, output_hidden_states=True).hidden_states[-2])
        for name, was_training in were_training.items():
            getattr(parts, name).train(was_training)
    return found


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> list[bool]:
    return [torch.equal(left, right) for left, right in zip(one, other, strict=True)]


def disturb(adapter: Any, scale: float = 0.1) -> None:
    with torch.no_grad():
        for number, (name, parameter) in enumerate(adapter.parameters.items()):
            generator = torch.Generator().manual_seed(number)
            if "magnitude" in name:
                parameter *= 1.2
            else:
                parameter += scale * torch.randn(parameter.shape, generator=generator)
