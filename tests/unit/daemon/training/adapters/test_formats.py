from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from adapting import EVERYWHERE, KINDS, disturb, make_plan, outputs, same
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_sdxl import SPEC, make_parts, stock_pipeline

from daemon.adapters.formats import from_diffusers, to_diffusers
from daemon.engine.adapter_loading import put_on, take_off
from daemon.engine.adapter_reading import read_adapter
from daemon.protocol.errors import NegError
from daemon.training.adapters.attach import attached
from daemon.training.adapters.formats import adapter_files, read_init_adapter
from daemon.training.monitoring.metrics import Point

POINTS = [Point(step, 1 / step, 1e-4, 1.0) for step in range(1, 15)]
DIFFUSERS, KOHYA = "pytorch_lora_weights.safetensors", "wrong_kohya.safetensors"
UNET = [True, False, False]


def export(folder: Path, parts: Any, **changes: Any) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """A disturbed adapter's files in `folder`; returns what the model said with it, and its weights."""
    plan = make_plan(folder, **changes)
    with attached(parts, plan.spec) as adapter:
        disturb(adapter)
        found, weights = outputs(parts), {name: weight.clone() for name, weight in adapter.weights().items()}
        for name, content in adapter_files(plan, adapter, adapter.weights(), POINTS).items():
            (folder / name).write_bytes(content)
    return found, weights


def components(parts: Any) -> dict[str, Any]:
    return {name: getattr(parts, name) for name in ("unet", "text_encoder", "text_encoder_2")}


def header(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
@pytest.mark.parametrize("everywhere", [False, True])
def test_plain_diffusers_loads_its_keys_to_the_same_predictions(tmp_path: Path, kind: str, everywhere: bool) -> None:
    parts = make_parts()
    found, _ = export(tmp_path, parts, lora_alpha=3.0, **KINDS[kind], **(EVERYWHERE if everywhere else {}))
    pipeline = stock_pipeline(parts)
    plain = outputs(parts)
    pipeline.load_lora_weights(str(tmp_path), weight_name=DIFFUSERS, adapter_name="negative")
    assert same(outputs(parts), found) == [True, True, True]
    assert same(outputs(parts), plain) == ([False] * 3 if everywhere else [False, True, True])


@pytest.mark.parametrize("everywhere", [False, True])
def test_diffusers_kohya_path_loads_kohya_keys_to_the_same_predictions(tmp_path: Path, everywhere: bool) -> None:
    parts = make_parts()
    found, _ = export(tmp_path, parts, lora_alpha=3.0, **(EVERYWHERE if everywhere else {}))
    stock_pipeline(parts).load_lora_weights(str(tmp_path), weight_name=KOHYA, adapter_name="negative")
    assert same(outputs(parts), found) == [True, True, True]


def test_diffusers_itself_loads_lokr_onto_the_unet(tmp_path: Path) -> None:
    parts = make_parts()
    found, _ = export(tmp_path, parts, peft_type="lokr", target_modules="attention+feed_forward+convolution")
    parts.unet.load_lora_adapter(str(tmp_path), weight_name=DIFFUSERS, prefix="unet", adapter_name="negative")
    assert torch.equal(outputs(parts)[0], found[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [DIFFUSERS, KOHYA])
def test_the_engine_loads_both_files_of_every_kind(tmp_path: Path, kind: str, name: str) -> None:
    parts = make_parts()
    found, _ = export(tmp_path, parts, lora_alpha=8.0 if kind == "lokr" else 3.0, **KINDS[kind], **EVERYWHERE)
    plain = outputs(parts)
    for component, adapter in read_adapter(tmp_path / name, components(parts), 1).items():
        put_on(tmp_path / name, getattr(parts, component), adapter, "negative")
    if kind == "lokr" and name == KOHYA:
        # The scale of whole factors lies in the first one there.
        for ours, theirs in zip(outputs(parts), found, strict=True):
            torch.testing.assert_close(ours, theirs)
    else:
        assert same(outputs(parts), found) == [True, True, True]
    for module in components(parts).values():
        take_off(module, "negative")
    assert same(outputs(parts), plain) == [True, True, True]


@pytest.mark.parametrize("kind", KINDS)
def test_without_their_headers_foreign_files_still_load(tmp_path: Path, kind: str) -> None:
    from safetensors.torch import save_file

    parts = make_parts()
    found, _ = export(tmp_path, parts, lora_alpha=3.0, rank=2, **KINDS[kind], train_text_encoder=True)
    save_file(load_file(tmp_path / KOHYA), tmp_path / "foreign.safetensors")
    for component, adapter in read_adapter(tmp_path / "foreign.safetensors", components(parts), 1).items():
        put_on(tmp_path / "foreign.safetensors", getattr(parts, component), adapter, "negative")
    for ours, theirs in zip(outputs(parts), found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_names_go_to_diffusers_and_back(tmp_path: Path, kind: str) -> None:
    _, weights = export(tmp_path, make_parts(), **KINDS[kind], **EVERYWHERE)
    back = from_diffusers(to_diffusers(weights))
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_starts_from_the_file_of_another(tmp_path: Path, kind: str) -> None:
    parts = make_parts()
    folder = tmp_path / "adapters" / "other"
    folder.mkdir(parents=True)
    chosen = KINDS[kind] | EVERYWHERE
    found, weights = export(folder, parts, **chosen)
    spec = msgspec.structs.replace(SPEC, init_adapter="other", **chosen)
    init = read_init_adapter(tmp_path, spec)
    assert init is not None
    assert init.keys() == weights.keys()
    with attached(parts, spec, init):
        assert same(outputs(parts), found) == [True, True, True]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rank": 8}, "r = 4, this training has 8"),
        ({"lora_alpha": 1.0}, "lora_alpha = 4.0"),
        ({"peft_type": "loha"}, "peft_type = None"),
        ({"use_dora": True}, "use_dora"),
        ({"target_modules": "attention+feed_forward"}, "target_modules"),
        ({"init_adapter": "nobody"}, "There is no"),
    ],
)
def test_a_beginning_of_another_kind_is_refused_in_words(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = tmp_path / "adapters" / "other"
    folder.mkdir(parents=True)
    export(folder, make_parts())
    with pytest.raises(NegError, match=words):
        read_init_adapter(tmp_path, msgspec.structs.replace(SPEC, **{"init_adapter": "other", **changes}))


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_a_beginning_that_is_damaged_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "adapters" / "other"
    folder.mkdir(parents=True)
    (folder / DIFFUSERS).write_bytes(content)
    with pytest.raises(NegError, match="not a sound safetensors file"):
        read_init_adapter(tmp_path, msgspec.structs.replace(SPEC, init_adapter="other"))


def test_nothing_to_start_from_is_nothing(tmp_path: Path) -> None:
    assert read_init_adapter(tmp_path, SPEC) is None


def test_kohya_names_are_those_of_sd_scripts(tmp_path: Path) -> None:
    export(tmp_path, make_parts(), **KINDS["dora"], **EVERYWHERE)
    weights = load_file(tmp_path / KOHYA)
    modules = {name.split(".", 1)[0] for name in weights}
    assert "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q" in modules
    assert "lora_unet_input_blocks_1_0_in_layers_2" in modules
    assert "lora_te1_text_model_encoder_layers_0_self_attn_q_proj" in modules
    assert "lora_te2_text_model_encoder_layers_1_self_attn_out_proj" in modules
    for module in modules:
        names = {name.split(".", 1)[1] for name in weights if name.startswith(f"{module}.")}
        assert names == {"lora_down.weight", "lora_up.weight", "alpha", "dora_scale"}
        scale, up = weights[f"{module}.dora_scale"], weights[f"{module}.lora_up.weight"]
        assert scale.shape == (up.shape[0], *(1,) * (up.dim() - 1))


def test_the_same_weights_of_the_same_origin_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        export(tmp_path / name, make_parts(), **EVERYWHERE)
    for name in (DIFFUSERS, KOHYA):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_hash_of_the_kohya_file_is_that_of_its_tensors(tmp_path: Path) -> None:
    import hashlib

    export(tmp_path, make_parts())
    content = (tmp_path / KOHYA).read_bytes()
    start = 8 + int(np.frombuffer(content[:8], "<u8")[0])
    metadata = header(tmp_path / KOHYA)
    assert metadata["sshs_model_hash"] == hashlib.sha256(content[start:]).hexdigest()
    assert metadata["modelspec.hash_sha256"] == f"0x{metadata['sshs_model_hash']}"
