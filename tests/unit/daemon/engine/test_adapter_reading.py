from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.protocol.errors import NegError


@pytest.fixture
def parts() -> dict[str, Any]:
    """A UNet's and an encoder's layers, as small as can be."""
    from torch import nn

    unet, attention = nn.Module(), nn.Module()
    attention.to_q, attention.to_k, attention.conv1 = nn.Linear(6, 4), nn.Linear(6, 4), nn.Conv2d(6, 4, 3)
    unet.mid_block = nn.Module()
    unet.mid_block.attentions = nn.ModuleList([attention])
    encoder = nn.Module()
    encoder.self_attn = nn.Module()
    encoder.self_attn.q_proj = nn.Linear(6, 6)
    return {"unet": unet, "text_encoder": encoder, "text_encoder_2": None}


LAYER = "mid_block.attentions.0.to_q"
KOHYA = "lora_unet_mid_block_attentions_0_to_q"


def weights(**changes: Any) -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {"lora_A.weight": torch.ones(2, 6), "lora_B.weight": torch.ones(4, 2)}
    return {f"unet.{LAYER}.{name}": weight for name, weight in (found | changes).items() if weight is not None}


def write(path: Path, tensors: dict[str, Any]) -> Path:
    from safetensors.torch import save_file

    save_file(tensors, path)
    return path


def test_every_spelling_gives_the_same_weights(parts: dict[str, Any], tmp_path: Path) -> None:
    import torch

    from daemon.engine.adapter_reading import read_adapter

    own = weights()
    down, up = own[f"unet.{LAYER}.lora_A.weight"], own[f"unet.{LAYER}.lora_B.weight"]
    spellings = [
        own,
        {f"unet.{LAYER}.lora.down.weight": down, f"unet.{LAYER}.lora.up.weight": up},
        {f"{LAYER.replace('to_q', 'processor.to_q_lora')}.{side}.weight": weight for side, weight in (("down", down), ("up", up))},
        {f"{KOHYA}.lora_down.weight": down, f"{KOHYA}.lora_up.weight": up, f"{KOHYA}.alpha": torch.tensor(1.0)},
        {f"lora_unet_middle_block_1_to_q.lora_{side}.weight": weight for side, weight in (("down", down), ("up", up))},
    ]
    for tensors in spellings:
        found = read_adapter(write(tmp_path / "a.safetensors", tensors), parts, 1)
        assert list(found) == ["unet"]
        assert set(found["unet"].state) == {f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"}
    alphas = read_adapter(write(tmp_path / "a.safetensors", spellings[3]), parts, 1)["unet"].alphas
    assert alphas == {LAYER: 1.0}


Spoil = Callable[[], dict[str, Any]]


def _ones(*shape: int) -> Any:
    import torch

    return torch.ones(shape)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (lambda: weights(**{"lora_A.weight": _ones(2, 5)}), "does not fit"),
        (lambda: weights(**{"lora_A.weight": _ones(6)}), "does not fit"),
        (lambda: weights(**{"lora_B.weight": _ones()}), "does not fit"),
        (lambda: {f"{KOHYA}.lora_down.weight": _ones(2, 6), f"{KOHYA}.alpha": _ones(2)}, "no number"),
        (lambda: weights(**{"lora_A.weight": _ones(2, 6) / 0}), "not finite"),
        (lambda: {**weights(), "unet.nowhere.lora_A.weight": _ones(2, 6)}, "does not fit"),
        (lambda: {**weights(), f"unet.{LAYER}.diff": _ones(4, 6)}, "no weight of a LoRA"),
        (lambda: {**weights(), "text_encoder_2.text_model.x.q_proj.lora_A.weight": _ones(2, 6)}, "which this model lacks"),
        (lambda: {f"{KOHYA}.lora_down.weight": _ones(2, 6), "lora_unet_nowhere.alpha": _ones(1)}, "has no layer lora_unet_nowhere"),
        (lambda: {f"{KOHYA}.lora_down.weight": _ones(2, 6), f"{KOHYA}.lora_mid.weight": _ones(2, 2)}, "no weight of a LoRA"),
        (lambda: {f"{KOHYA}.lora_down.weight": _ones(2, 6), f"{KOHYA}.dora_scale": _ones(1, 6)}, "input axis"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused_in_words(parts: dict[str, Any], tmp_path: Path, tensors: Spoil, words: str) -> None:
    from daemon.engine.adapter_reading import read_adapter

    with pytest.raises(NegError, match=words):
        read_adapter(write(tmp_path / "a.safetensors", tensors()), parts, 1)
