from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from daemon.models.adapter_files import LORA_WEIGHT, LYCORIS_WEIGHT, adapter_kind, check_adapter_file, has_kohya_keys, peft_settings_in
from daemon.protocol.errors import NegError


def _file(folder: Path, *names: str) -> Path:
    path = folder / "pytorch_lora_weights.safetensors"
    save_file({name: np.zeros((2, 2), np.float32) for name in names}, path)
    return path


@pytest.mark.parametrize(
    ("name", "module", "side"),
    [
        ("unet.mid_block.attentions.0.attn1.to_q.lora_A.weight", "mid_block.attentions.0.attn1.to_q", "A"),
        ("unet.a.to_out.0.lora_B.weight", "a.to_out.0", "B"),
        ("unet.a.to_q.lora.down.weight", "a.to_q", "down"),
        ("unet.a.attn1.processor.to_q_lora.up.weight", "a.attn1.processor.to_q", "up"),
        ("a.to_q.lora_A.default.weight", "a.to_q", "A"),
    ],
)  # fmt: skip
def test_all_spellings_are_read(tmp_path: Path, name: str, module: str, side: str) -> None:
    matched = LORA_WEIGHT.fullmatch(name)
    assert matched is not None
    assert (matched["module"], matched["side"]) == (module, side)
    check_adapter_file(_file(tmp_path, name))


def test_kohya_names_pass(tmp_path: Path) -> None:
    check_adapter_file(_file(tmp_path, "lora_unet_mid_block_attentions_0_to_q.lora_down.weight"))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("conv_in.weight",), "no LoRA weights"),
        (("clip_l", "clip_g"), "no LoRA weights"),
        (("unet.a.to_q.lora_A.weight", "text_encoder_3.b.lora_A.weight"), "another kind of model"),
        (("transformer.a.to_q.lora_A.weight",), "another kind of model"),
    ],
)
def test_other_files_are_told(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(NegError, match=words):
        check_adapter_file(_file(tmp_path, *names))


def test_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NegError, match="safetensors only"):
        check_adapter_file(tmp_path / "adapter.bin")


@pytest.mark.parametrize(
    ("names", "kind", "is_kohya"),
    [
        (("unet.a.to_q.lora_A.weight", "text_encoder.b.lora_linear_layer.down.weight"), "lora", False),
        (("lora_unet_a.lora_down.weight", "lora_unet_a.dora_scale", "lora_te1_b.alpha"), "lora", True),
        (("unet.a.to_q.hada_w1_a",), "loha", False),
        (("lora_unet_a.hada_t1", "lora_unet_a.hada_w1_b"), "loha", True),
        (("lora_te2_a.lokr_w1", "lora_te2_a.lokr_w2_a"), "lokr", True),
        (("clip_l",), None, False),
    ],
)
def test_what_a_file_is(tmp_path: Path, names: tuple[str, ...], kind: str | None, is_kohya: bool) -> None:
    assert adapter_kind(names) == kind
    assert has_kohya_keys(names) == is_kohya
    if kind is not None:
        check_adapter_file(_file(tmp_path, *names))


def test_lycoris_weights_are_told_from_their_layers() -> None:
    matched = LYCORIS_WEIGHT.fullmatch("unet.a.to_out.0.lokr_w2_b")
    assert matched is not None
    assert (matched["module"], matched["weight"]) == ("unet.a.to_out.0", "lokr_w2_b")
    assert LYCORIS_WEIGHT.fullmatch("unet.a.to_out.0.lora_A.weight") is None


def test_the_configuration_in_a_header() -> None:
    text = '{"unet.r": 4, "text_encoder.lora_alpha": 2.0, "transformer.r": 1}'
    assert peft_settings_in({"lora_adapter_metadata": text}) == {"unet": {"r": 4}, "text_encoder": {"lora_alpha": 2.0}}
    assert peft_settings_in({"negtui.peft_config": text}) == peft_settings_in({"lora_adapter_metadata": text})
    for broken in ("", "{", "[1]", '{"r": 1}', "[" * 100_000):
        assert peft_settings_in({"lora_adapter_metadata": broken}) == {}
