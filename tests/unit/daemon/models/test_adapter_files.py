from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from daemon.models.adapter_files import LORA_WEIGHT, check_adapter_file
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
        (("unet.a.to_q.lora_A.weight", "text_encoder.b.lora_A.weight"), "text encoders"),
        (("lora_te1_b.lora_down.weight",), "text encoders"),
    ],
)
def test_other_files_are_told(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(NegError, match=words):
        check_adapter_file(_file(tmp_path, *names))


def test_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NegError, match="safetensors only"):
        check_adapter_file(tmp_path / "adapter.bin")
