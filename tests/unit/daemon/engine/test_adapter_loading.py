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


def test_layers_are_named_whether_they_carry_an_adapter_or_not(parts: dict[str, Any], tmp_path: Path) -> None:
    from daemon.engine.adapter_loading import put_on, take_off
    from daemon.engine.adapter_reading import layer_names, read_adapter

    before = set(layer_names(parts))
    assert f"unet.{LAYER}" in before
    assert "text_encoder.text_model.self_attn.q_proj" in before
    path = write(tmp_path / "a.safetensors", weights())
    layer = parts["unet"].mid_block.attentions[0].to_q
    for number in (1, 2):
        put_on(path, parts["unet"], read_adapter(path, parts, 1)["unet"], f"number_{number}")
        assert set(layer_names(parts)) == before
    take_off(parts["unet"], "number_1")
    assert list(parts["unet"].peft_config) == ["number_2"]
    take_off(parts["unet"], "number_2")
    assert parts["unet"].mid_block.attentions[0].to_q is layer
    assert not hasattr(parts["unet"], "peft_config")


def test_an_alpha_of_each_layer_is_kept(parts: dict[str, Any], tmp_path: Path) -> None:
    import torch

    from daemon.engine.adapter_loading import put_on
    from daemon.engine.adapter_reading import read_adapter

    tensors: dict[str, Any] = {}
    for name, alpha in (("to_q", 1.0), ("to_k", 6.0)):
        module = KOHYA.replace("to_q", name)
        tensors[f"{module}.lora_down.weight"], tensors[f"{module}.lora_up.weight"] = torch.ones(2, 6), torch.ones(4, 2)
        tensors[f"{module}.alpha"] = torch.tensor(alpha)
    path = write(tmp_path / "a.safetensors", tensors)
    put_on(path, parts["unet"], read_adapter(path, parts, 1)["unet"], "adapter")
    attention = parts["unet"].mid_block.attentions[0]
    assert (attention.to_q.scaling, attention.to_k.scaling) == ({"adapter": 0.5}, {"adapter": 3.0})


Spoil = Callable[[], dict[str, Any]]


def _ones(*shape: int) -> Any:
    import torch

    return torch.ones(shape)


@pytest.mark.parametrize(
    "tensors",
    [
        lambda: weights(**{"lora_B.weight": None}),
        lambda: weights(**{"lora_B.weight": _ones(4, 3)}),
        lambda: {f"unet.{LAYER}.hada_w1_a": _ones(4, 2), f"unet.{LAYER}.hada_w1_b": _ones(2, 6)},
        lambda: {
            f"unet.{LAYER}.hada_{name}": _ones(*shape)
            for name, shape in {"w1_a": (5, 2), "w1_b": (2, 6), "w2_a": (4, 2), "w2_b": (2, 6)}.items()
        },
        lambda: {f"unet.{LAYER}.lokr_w1": _ones(3, 3), f"unet.{LAYER}.lokr_w2": _ones(2, 3)},
    ],
)
def test_what_does_not_fit_together_is_refused_and_leaves_nothing(parts: dict[str, Any], tmp_path: Path, tensors: Spoil) -> None:
    from daemon.engine.adapter_loading import put_on
    from daemon.engine.adapter_reading import read_adapter

    path = write(tmp_path / "a.safetensors", tensors())
    modules = dict(parts["unet"].named_modules())
    with pytest.raises(NegError, match="does not fit"):
        put_on(path, parts["unet"], read_adapter(path, parts, 1)["unet"], "adapter")
    assert dict(parts["unet"].named_modules()) == modules
    assert not hasattr(parts["unet"], "peft_config")
