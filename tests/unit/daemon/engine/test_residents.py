from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.engine.models import LocalEngine
from daemon.models import working_bytes
from daemon.protocol.specs import AdapterRequest, ImageRequest, ModelSpec

MakeRequest = Callable[..., ImageRequest]


def test_parts_are_loaded_once_and_shared_by_content(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest) -> None:
    engine.paint(model, make_request(num_inference_steps=5))
    residents = engine._loaded()
    sources = engine._sources(model)
    base, refiner = residents.parts(sources, "base"), residents.parts(sources, "refiner")
    assert base["vae"] is refiner["vae"]
    assert base["text_encoder_2"] is refiner["text_encoder_2"]
    assert base["unet"] is not refiner["unet"]
    assert residents.parts(sources, "base")["unet"] is base["unet"]


def test_training_borrows_a_clean_base_and_gives_it_back_clean(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, adapter_path: Path
) -> None:
    import torch
    from peft import LoraConfig

    plain, carrying = make_request(), make_request(adapters=(AdapterRequest(sha256=engine.offer_adapter(adapter_path), weight=1.0),))
    before, before_carrying = engine.paint(model, plain), engine.paint(model, carrying)
    with contextlib.suppress(ZeroDivisionError), engine.borrow_training_parts(model) as parts:
        names = {name for name, _ in parts.unet.named_parameters()}
        assert not any("lora" in name for name in names), "lent without the adapters of painting"
        assert parts.noise_scheduler.config.prediction_type == "v_prediction"
        assert (parts.dtype, parts.device.type) == (torch.float32, "cpu")
        config = LoraConfig(r=2, lora_alpha=2, init_lora_weights="gaussian", target_modules=["to_q", "to_k", "to_v", "to_out.0"])
        parts.unet.add_adapter(config, adapter_name="default")
        parts.unet.train()
        parts.unet.enable_gradient_checkpointing()
        sum(parameter.sum() for name, parameter in parts.unet.named_parameters() if "lora" in name).backward()
        raise ZeroDivisionError
    assert {name for name, _ in parts.unet.named_parameters()} == names
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in parts.unet.parameters())
    assert not parts.unet.training
    assert not parts.unet.is_gradient_checkpointing
    assert engine.paint(model, plain).tobytes() == before.tobytes()
    assert engine.paint(model, carrying).tobytes() == before_carrying.tobytes()


def test_a_part_given_back_in_another_precision_is_loaded_anew(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest) -> None:
    import torch

    before = engine.paint(model, make_request())
    with engine.borrow_training_parts(model) as parts:
        parts.unet.to(torch.bfloat16)
    assert engine.paint(model, make_request()).tobytes() == before.tobytes()


def test_what_lies_in_memory_is_told_with_its_bytes_and_given_back(
    tmp_path: Path, model: ModelSpec, make_request: MakeRequest, adapter_path: Path
) -> None:
    engine = LocalEngine(tmp_path)
    assert engine.residents() == ()
    engine.hold(model)
    parts = {(part.name, part.kind): part for part in engine.residents()}
    assert {("unet", "base"), ("unet", "refiner"), ("vae", "shared"), ("text_encoder", "shared")} <= set(parts)
    unet = engine._loaded().parts(engine._sources(model), "base")["unet"]
    assert parts["unet", "base"].num_bytes == sum(weight.nbytes for weight in unet.parameters())
    assert {(part.device, part.dtype) for part in parts.values()} == {("cpu", "float32")}
    sizes = [part.num_bytes for part in engine.residents()]
    assert sizes == sorted(sizes, reverse=True)

    engine.paint(model, make_request(adapters=(AdapterRequest(sha256=engine.offer_adapter(adapter_path), weight=1.0),)))
    told = [part for part in engine.residents() if part.kind == "adapter"]
    assert [part.name for part in told] == [adapter_path.parent.name]
    carried = sum(weight.nbytes for name, weight in unet.named_parameters() if "lora" in name)
    assert told[0].num_bytes >= carried > 0
    assert engine.gpu_bytes() is None
    engine.close()
    assert engine.residents() == ()


@pytest.mark.parametrize(("room", "number"), [(9.0, 3), (2.0, 3), (1.6, 2), (1.0, 1), (0.0, 1)])
def test_on_a_gpu_as_many_pictures_are_painted_together_as_fit_beside_base_and_refiner(
    engine: LocalEngine, model: ModelSpec, monkeypatch: pytest.MonkeyPatch, room: float, number: int
) -> None:
    import daemon.engine.residents as module

    residents, sources = engine._loaded(), dataclasses.replace(engine._sources(model), device="cuda")
    parts = sum(residents._bytes_of(sources, role, list(residents.keys(sources, role))) for role in ("base", "refiner"))
    budget = parts + int(room * working_bytes(1024, 1024, "float32"))
    monkeypatch.setattr(module, "device_budget", lambda device, working: budget - working)
    assert residents.num_together(sources, 1024, 1024, 3) == number
    assert residents.num_together(dataclasses.replace(sources, device="cpu"), 1024, 1024, 3) == 1
    monkeypatch.setenv("NEGTUI_PICTURES_TOGETHER", "2")
    assert residents.num_together(sources, 1024, 1024, 3) == 2
