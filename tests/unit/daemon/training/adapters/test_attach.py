from typing import Any

import msgspec
import pytest
import torch
from adapting import EVERYWHERE, KINDS, MODULES, disturb, outputs, same
from tiny_sdxl import SPEC, make_parts

from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.attach import attached, copy_into
from daemon.training.adapters.metadata import ATTENTION


def spec(**changes: Any) -> TrainingSpec:
    return msgspec.structs.replace(SPEC, **changes)


def facts(parts: Any) -> list[object]:
    """All that an adapter might leave behind."""
    found: list[object] = []
    for name in MODULES:
        module = getattr(parts, name)
        found.append([(key, id(submodule), submodule.training) for key, submodule in module.named_modules()])
        found.append([(key, id(weight), weight.dtype, weight.requires_grad, weight.grad) for key, weight in module.named_parameters()])
        found.append({key: value for key, value in vars(module).items() if "peft" in key})
        found.append(getattr(module, "is_gradient_checkpointing", None))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_adapter_changes_nothing_and_leaves_nothing(parts: Any, kind: str) -> None:
    plain, before = outputs(parts), facts(parts)
    with attached(parts, spec(**KINDS[kind], **EVERYWHERE)) as adapter:
        assert same(outputs(parts), plain) == [True, True, True]
        assert {weight.dtype for weight in adapter.parameters.values()} == {torch.float32}
        trainable = {id(weight) for name in MODULES for weight in getattr(parts, name).parameters() if weight.requires_grad}
        assert trainable == {id(weight) for weight in adapter.parameters.values()}
        assert list(adapter.parameters) == sorted(adapter.parameters)
        assert adapter.num_parameters == sum(weight.numel() for weight in adapter.parameters.values())
        disturb(adapter)
        changed = outputs(parts)
        assert same(changed, plain) == [False, False, False]
        with adapter.off():
            assert same(outputs(parts), plain) == [True, True, True]
        assert same(outputs(parts), changed) == [True, True, True]
        assert all(weight.requires_grad for weight in adapter.parameters.values())
    assert same(outputs(parts), plain) == [True, True, True]
    assert facts(parts) == before


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_left_as_it_was_whatever_happens(parts: Any, kind: str) -> None:
    plain, before = outputs(parts), facts(parts)
    lent = attached(parts, spec(gradient_checkpointing=True, **KINDS[kind], **EVERYWHERE))
    adapter = lent.__enter__()
    assert parts.unet.is_gradient_checkpointing
    assert parts.text_encoder.is_gradient_checkpointing
    disturb(adapter)
    draw = torch.Generator().manual_seed(1)
    conditions = {"text_embeds": torch.randn(1, 16, generator=draw), "time_ids": torch.full((1, 6), 32.0)}
    sample, embeds = torch.randn(1, 4, 16, 16, generator=draw), torch.randn(1, 12, 32, generator=draw)
    parts.unet(sample, torch.tensor([5]), embeds, added_cond_kwargs=conditions)[0].square().mean().backward()
    assert all(weight.grad is not None for name, weight in adapter.parameters.items() if name.startswith("unet."))
    assert not lent.__exit__(KeyError, KeyError("stop"), None)
    assert same(outputs(parts), plain) == [True, True, True]
    assert facts(parts) == before


def test_an_adapter_switched_off_is_on_again_after_an_exception(parts: Any) -> None:
    with attached(parts, spec()) as adapter:
        disturb(adapter)
        changed = outputs(parts)
        with pytest.raises(KeyError), adapter.off():
            raise KeyError
        assert same(outputs(parts), changed) == [True, True, True]


def test_it_sits_where_it_is_asked_to(parts: Any) -> None:
    num_attentions = sum(type(module).__name__ == "Attention" for module in parts.unet.modules())
    num_residuals = sum(type(module).__name__ == "ResnetBlock2D" for module in parts.unet.modules())
    with attached(parts, spec()) as adapter:
        assert len(adapter.parameters) == num_attentions * len(ATTENTION) * 2
        assert all(name.startswith("unet.") for name in adapter.parameters)
    with attached(parts, spec(target_modules="attention+feed_forward")) as adapter:
        layers = {name.split(".lora_")[0] for name in adapter.parameters}
        assert sum(layer.endswith(("ff.net.0.proj", "ff.net.2")) for layer in layers) == num_attentions
        assert not any("conv" in layer for layer in layers)
    with attached(parts, spec(**EVERYWHERE)) as adapter:
        layers = {name.split(".lora_")[0] for name in adapter.parameters}
        assert sum(layer.endswith((".conv1", ".conv2")) for layer in layers) == 2 * num_residuals
        for encoder in MODULES[1:]:
            heads = [layer for layer in layers if layer.startswith(f"{encoder}.text_model.encoder.layers.")]
            assert len(heads) == 4 * 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_beginning_is_drawn_from_the_seed_and_the_names_alone(parts: Any, kind: str) -> None:
    found = []
    for seed, disturbance in ((1, 0), (1, 99), (2, 0)):
        torch.manual_seed(disturbance)
        with attached(parts, spec(seed=seed, rank=16, **KINDS[kind], **EVERYWHERE)) as adapter:
            found.append({name: weight.clone() for name, weight in adapter.weights().items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    drawn = [name for name in found[0] if found[0][name].any() and "magnitude" not in name]
    assert drawn
    assert not any(torch.equal(found[0][name], found[2][name]) for name in drawn)


def test_lora_begins_gaussian_with_deviation_one_over_rank(parts: Any) -> None:
    with attached(parts, spec(rank=16)) as adapter:
        drawn = torch.cat([weight.flatten() for name, weight in adapter.weights().items() if ".lora_A." in name])
        assert abs(float(drawn.std()) * 16 - 1) < 0.05
        assert abs(float(drawn.mean())) < 0.01
        assert not any(weight.any() for name, weight in adapter.weights().items() if ".lora_B." in name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_masters_are_float32_on_a_half_precision_model(kind: str, dtype: str) -> None:
    parts = make_parts(dtype=dtype)
    plain = outputs(parts)
    with attached(parts, spec(**KINDS[kind], **EVERYWHERE)) as adapter:
        assert {weight.dtype for weight in adapter.parameters.values()} == {torch.float32}
        assert same(outputs(parts), plain) == [True, True, True]
        frozen = {weight.dtype for weight in parts.unet.parameters() if not weight.requires_grad}
        assert frozen == {getattr(torch, dtype)}
    assert same(outputs(parts), plain) == [True, True, True]


@pytest.mark.parametrize(("kind", "ratio"), [("lora", 2.0), ("loha", 2.0), ("lokr", 2.0), ("rslora", 2.0)])
def test_alpha_scales(parts: Any, kind: str, ratio: float) -> None:
    plain, found = outputs(parts)[0], []
    for alpha in (4.0, 8.0):
        with attached(parts, spec(lora_alpha=alpha, **KINDS[kind])) as adapter:
            disturb(adapter, 1e-3)
            found.append(outputs(parts)[0] - plain)
    assert float(found[1].norm() / found[0].norm()) == pytest.approx(ratio, rel=0.05)
    assert float(found[0].abs().max()) > 0


def test_rslora_scales_by_the_root_of_the_rank(parts: Any) -> None:
    with attached(parts, spec(rank=4, use_rslora=True)):
        layer = next(module for module in parts.unet.modules() if hasattr(module, "scaling"))
        assert set(layer.scaling.values()) == {2.0}


def test_dropout_is_drawn_from_the_global_generator_alone(parts: Any) -> None:
    found = []
    with attached(parts, spec(lora_dropout=0.5)) as adapter:
        disturb(adapter)
        sample, embeds = torch.ones(1, 4, 16, 16), torch.ones(1, 12, 32)
        conditions = {"text_embeds": torch.ones(1, 16), "time_ids": torch.full((1, 6), 32.0)}
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            with torch.no_grad():
                found.append(parts.unet(sample, torch.tensor([5]), embeds, added_cond_kwargs=conditions)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_model_that_still_carries_an_adapter_is_not_trained() -> None:
    from peft import LoraConfig

    parts = make_parts()
    parts.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]), adapter_name="other")
    with pytest.raises(RuntimeError, match="still carries"):
        attached(parts, SPEC).__enter__()
    assert list(parts.unet.peft_config) == ["other"]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_back(parts: Any, kind: str) -> None:
    chosen = spec(**KINDS[kind], **EVERYWHERE)
    with attached(parts, chosen) as adapter:
        disturb(adapter)
        saved, changed = {name: weight.clone() for name, weight in adapter.weights().items()}, outputs(parts)
    with attached(parts, chosen) as adapter:
        adapter.load(saved)
        assert same(outputs(parts), changed) == [True, True, True]
    with attached(parts, chosen, saved) as adapter:
        assert same(outputs(parts), changed) == [True, True, True]


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"rank": 8}, "another shape"), ({"use_dora": True}, "only one of them"), ({"peft_type": "loha"}, "only one of them")],
)
def test_an_adapter_of_another_kind_is_no_beginning(parts: Any, changes: dict[str, Any], words: str) -> None:
    before = facts(parts)
    with attached(parts, SPEC) as adapter:
        saved = {name: weight.clone() for name, weight in adapter.weights().items()}
    with pytest.raises(NegError, match=words), attached(parts, spec(init_adapter="other", **changes), saved):
        pass
    assert facts(parts) == before


def test_weights_of_another_adapter_are_refused(parts: Any) -> None:
    with attached(parts, SPEC) as adapter:
        weights = {name: torch.ones_like(parameter) for name, parameter in adapter.parameters.items()}
        copy_into(adapter.parameters, weights)
        assert all(bool((parameter == 1).all()) for parameter in adapter.parameters.values())
        name = next(iter(weights))
        for wrong in ({}, weights | {"x": torch.ones(1)}, weights | {name: torch.ones(3)}):
            with pytest.raises(ValueError, match="another adapter"):
                copy_into(adapter.parameters, wrong)
