from typing import Any

import pytest
import torch
from tiny_sdxl import make_parts

from daemon.training.adapters.lora import TARGET_MODULES, attached_lora, copy_into


def predict(unet: Any) -> torch.Tensor:
    draw = torch.Generator().manual_seed(3)
    sample, embeds = torch.randn(2, 4, 16, 16, generator=draw), torch.randn(2, 12, 32, generator=draw)
    conditions = {"text_embeds": torch.randn(2, 16, generator=draw), "time_ids": torch.full((2, 6), 32.0)}
    with torch.no_grad():
        cast = {name: value.to(unet.dtype) for name, value in conditions.items()}
        return unet(sample.to(unet.dtype), torch.tensor([5, 900]), embeds.to(unet.dtype), added_cond_kwargs=cast)[0]


def test_a_fresh_adapter_changes_nothing_and_sits_on_all_attention(parts: Any) -> None:
    plain = predict(parts.unet)
    with attached_lora(parts.unet, rank=4, alpha=4, seed=0) as parameters:
        assert torch.equal(predict(parts.unet), plain)
        num_attentions = sum(type(module).__name__ == "Attention" for module in parts.unet.modules())
        assert len(parameters) == num_attentions * len(TARGET_MODULES) * 2
        assert {id(p) for p in parts.unet.parameters() if p.requires_grad} == {id(p) for p in parameters.values()}
        assert list(parameters) == sorted(parameters)


def test_the_unet_is_left_as_it_was_whatever_happens(parts: Any) -> None:
    names, plain = list(parts.unet.state_dict()), predict(parts.unet)
    lent = attached_lora(parts.unet, 4, 4, 0, gradient_checkpointing=True)
    parameters = lent.__enter__()
    assert parts.unet.is_gradient_checkpointing
    with torch.no_grad():
        for parameter in parameters.values():
            parameter += 1
    assert not torch.equal(predict(parts.unet), plain)
    assert not lent.__exit__(KeyError, KeyError("stop"), None)
    assert list(parts.unet.state_dict()) == names
    assert torch.equal(predict(parts.unet), plain)
    assert not parts.unet.training
    assert not parts.unet.is_gradient_checkpointing
    assert not any(parameter.requires_grad for parameter in parts.unet.parameters())
    assert not getattr(parts.unet, "peft_config", None)


def test_a_unet_that_still_carries_an_adapter_is_not_trained() -> None:
    from peft import LoraConfig

    unet = make_parts().unet
    unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]), adapter_name="other")
    with pytest.raises(RuntimeError, match="still carries"):
        attached_lora(unet, 4, 4, 0).__enter__()
    assert list(unet.peft_config) == ["other"]


def test_the_beginning_is_drawn_from_the_seed_alone(parts: Any) -> None:
    found = []
    for seed, disturbance in ((1, 0), (1, 99), (2, 0)):
        torch.manual_seed(disturbance)
        with attached_lora(parts.unet, 16, 16, seed) as parameters:
            found.append({name: parameter.detach().clone() for name, parameter in parameters.items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    drawn = torch.cat([weight.flatten() for name, weight in found[0].items() if ".lora_A." in name])
    assert abs(float(drawn.std()) * 16 - 1) < 0.05
    assert abs(float(drawn.mean())) < 0.01
    assert all(not weight.any() for name, weight in found[0].items() if ".lora_B." in name)
    assert not torch.equal(drawn, torch.cat([weight.flatten() for name, weight in found[2].items() if ".lora_A." in name]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_masters_are_float32_on_a_half_precision_unet(dtype: str) -> None:
    parts = make_parts(dtype=dtype)
    with attached_lora(parts.unet, 4, 4, 0) as parameters:
        assert {parameter.dtype for parameter in parameters.values()} == {torch.float32}
        assert {p.dtype for p in parts.unet.parameters() if not p.requires_grad} == {getattr(torch, dtype)}
    assert {parameter.dtype for parameter in parts.unet.parameters()} == {getattr(torch, dtype)}


def test_alpha_over_rank_scales(parts: Any) -> None:
    plain, found = predict(parts.unet), []
    for alpha in (4, 8):
        with attached_lora(parts.unet, 4, alpha, 0) as parameters:
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.fill_(1e-4 if ".lora_B." in name else 0.1)
            found.append(predict(parts.unet) - plain)
    assert float(found[1].norm() / found[0].norm()) == pytest.approx(2, rel=0.01)
    assert float(found[0].abs().max()) > 1e-5


def test_weights_of_another_adapter_are_refused(parts: Any) -> None:
    with attached_lora(parts.unet, 4, 4, 0) as parameters:
        weights = {name: torch.ones_like(parameter) for name, parameter in parameters.items()}
        copy_into(parameters, weights)
        assert all(bool((parameter == 1).all()) for parameter in parameters.values())
        name = next(iter(weights))
        for wrong in ({}, weights | {"x": torch.ones(1)}, weights | {name: torch.ones(3)}):
            with pytest.raises(ValueError, match="another adapter"):
                copy_into(parameters, wrong)
