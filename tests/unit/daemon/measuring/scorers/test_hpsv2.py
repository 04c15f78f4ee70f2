"""HPS v2.1's layout (open_clip's) becomes transformers' without a tensor lost: the same vectors come out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_clip import PROMPTS, add_readers, pictures, save_clip, small_clip

from daemon.measuring.scorers.clip import load_clip
from daemon.measuring.scorers.hpsv2 import CONFIG_FILE, WEIGHTS_FILE, clip_config, load_hpsv2, to_transformers
from daemon.protocol.errors import NegError

CONFIG = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 890, "width": 32, "heads": 2, "layers": 2},
    }
}


def as_open_clip(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """transformers' tensors as open_clip names and shapes them: written from its model's source, apart from the code under test."""
    state = model.state_dict()
    found = {"logit_scale": state["logit_scale"], "text_projection": state["text_projection.weight"].T.contiguous()}
    found["visual.proj"] = state["visual_projection.weight"].T.contiguous()
    for tower, prefix in (("vision_model", "visual."), ("text_model", "")):
        for number in range(2):
            layer, block = f"{tower}.encoder.layers.{number}", f"{prefix}transformer.resblocks.{number}"
            for kind in ("weight", "bias"):
                found[f"{block}.attn.in_proj_{kind}"] = torch.cat([state[f"{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"])
                found[f"{block}.attn.out_proj.{kind}"] = state[f"{layer}.self_attn.out_proj.{kind}"]
                found[f"{block}.ln_1.{kind}"] = state[f"{layer}.layer_norm1.{kind}"]
                found[f"{block}.ln_2.{kind}"] = state[f"{layer}.layer_norm2.{kind}"]
                found[f"{block}.mlp.c_fc.{kind}"] = state[f"{layer}.mlp.fc1.{kind}"]
                found[f"{block}.mlp.c_proj.{kind}"] = state[f"{layer}.mlp.fc2.{kind}"]
    for kind in ("weight", "bias"):
        found[f"visual.ln_pre.{kind}"] = state[f"vision_model.pre_layrnorm.{kind}"]
        found[f"visual.ln_post.{kind}"] = state[f"vision_model.post_layernorm.{kind}"]
        found[f"ln_final.{kind}"] = state[f"text_model.final_layer_norm.{kind}"]
    found["visual.class_embedding"] = state["vision_model.embeddings.class_embedding"]
    found["visual.conv1.weight"] = state["vision_model.embeddings.patch_embedding.weight"]
    found["visual.positional_embedding"] = state["vision_model.embeddings.position_embedding.weight"]
    found["token_embedding.weight"] = state["text_model.embeddings.token_embedding.weight"]
    found["positional_embedding"] = state["text_model.embeddings.position_embedding.weight"]
    return {name: tensor.clone() for name, tensor in found.items()}


def prepare(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir()
    save_file(tensors, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps(CONFIG))
    add_readers(folder)
    return folder


@pytest.mark.parametrize("prefix", ["", "module."])
def test_it_is_the_cosine_of_the_same_model(tmp_path: Path, prefix: str) -> None:
    expected = load_clip(save_clip(tmp_path / "clip")).cosines(pictures(), PROMPTS)
    folder = prepare(tmp_path / "hps", {f"{prefix}{name}": tensor for name, tensor in as_open_clip(small_clip()).items()})
    found = [values["hpsv2_1"] for values in load_hpsv2(folder)(pictures(), PROMPTS)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_every_tensor_has_its_place() -> None:
    assert set(dict(to_transformers(as_open_clip(small_clip())))) == set(small_clip().state_dict())


def test_a_model_that_lacks_or_has_more_tensors_is_refused(tmp_path: Path) -> None:
    whole = as_open_clip(small_clip())
    for number, tensors in enumerate(
        ({**whole, "visual.extra": torch.ones(1)}, {name: whole[name] for name in whole if name != "visual.proj"})
    ):
        with pytest.raises(NegError, match="cannot be read"):
            load_hpsv2(prepare(tmp_path / str(number), tensors))


def test_the_published_model_s_configuration_is_read() -> None:
    vision = {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14}
    text = {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24}
    config = clip_config({"model_cfg": {"embed_dim": 1024, "vision_cfg": vision, "text_cfg": text}})
    assert (config.vision_config.num_attention_heads, config.vision_config.intermediate_size) == (16, 5120)
    assert (config.text_config.num_attention_heads, config.projection_dim, config.text_config.hidden_act) == (16, 1024, "gelu")
