from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from daemon import models
from daemon.engine.models import LocalEngine
from daemon.models.headers import read_header
from daemon.models.single_file import role_of
from daemon.models.sources import resolve
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRequest, ModelSpec

Weights = dict[str, np.ndarray]
MakeRequest = Callable[..., ImageRequest]

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET_ENDS = {
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
VAE_WORDS = {
    "resnets": "block", "mid_block": "mid", "conv_shortcut": "nin_shortcut", "conv_norm_out": "norm_out", "downsamplers.0": "downsample",
    "upsamplers.0": "upsample", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
}  # fmt: skip
CLIP_LAYER = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def _part(folder: Path, name: str) -> Weights:
    return load_file(next((folder / name).glob("*.safetensors")))


def _original_unet(weights: Weights, layers: int) -> Weights:
    """UNet names of diffusers -> those of the original checkpoints."""

    def rename(name: str) -> str:
        for ours, theirs in UNET_ENDS.items():
            if name.startswith(f"{ours}."):
                return name.replace(ours, theirs, 1)
        block = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
        if block:
            side, index, kind, layer, rest = block[1], int(block[2]), block[3], int(block[4]), block[5]
            position = index * (layers + 1) + layer + (1 if side == "down" else 0)
            prefix = f"{'input' if side == 'down' else 'output'}_blocks"
            if kind == "downsamplers":
                return f"{prefix}.{index * (layers + 1) + layers + 1}.0.op.{rest.removeprefix('conv.')}"
            if kind == "upsamplers":
                last = index * (layers + 1) + layers
                with_attention = any(key.startswith(f"up_blocks.{index}.attentions") for key in weights)
                return f"{prefix}.{last}.{2 if with_attention else 1}.{rest}"
            return f"{prefix}.{position}.0.{_resnet(rest)}" if kind == "resnets" else f"{prefix}.{position}.1.{rest}"
        middle = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name)
        assert middle, name
        if middle[1] == "attentions":
            return f"middle_block.1.{middle[3]}"
        return f"middle_block.{2 * int(middle[2])}.{_resnet(middle[3])}"

    return {f"model.diffusion_model.{rename(name)}": weight for name, weight in weights.items()}


def _resnet(rest: str) -> str:
    head = rest.split(".")[0]
    return rest.replace(head, RESNET[head], 1)


def _original_vae(weights: Weights, num_blocks: int) -> Weights:
    result = {}
    for name, weight in weights.items():
        new = re.sub(r"up_blocks\.(\d+)", lambda match: f"up.{num_blocks - 1 - int(match[1])}", name)
        new = re.sub(r"down_blocks\.(\d+)", r"down.\1", new)
        new = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", new).replace(
            "mid_block.attentions.0", "mid.attn_1"
        )
        for ours, theirs in VAE_WORDS.items():
            new = new.replace(ours, theirs)
        if "attn_1" in new and weight.ndim == 2:
            weight = weight[:, :, None, None]
        result[f"first_stage_model.{new}"] = np.ascontiguousarray(weight)
    return result


def _original_open_clip(weights: Weights, prefix: str) -> Weights:
    flat = {name.removeprefix("text_model."): weight for name, weight in weights.items()}
    result = {
        "token_embedding.weight": flat["embeddings.token_embedding.weight"],
        "positional_embedding": flat["embeddings.position_embedding.weight"],
        "ln_final.weight": flat["final_layer_norm.weight"],
        "ln_final.bias": flat["final_layer_norm.bias"],
        "text_projection": np.ascontiguousarray(flat["text_projection.weight"].T),
    }
    for layer in sorted({name.split(".")[2] for name in flat if name.startswith("encoder.layers.")}):
        here, there = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for kind in ("weight", "bias"):
            for ours, theirs in CLIP_LAYER.items():
                result[f"{there}.{theirs}.{kind}"] = flat[f"{here}.{ours}.{kind}"]
            result[f"{there}.attn.in_proj_{kind}"] = np.concatenate([flat[f"{here}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"])
    return {prefix + name: weight for name, weight in result.items()}


def write_single_file(folder: Path, path: Path, role: str) -> Path:
    """A diffusers folder as one checkpoint in the original layout, its configurations in a folder of the same name beside it."""
    unet = json.loads((folder / "unet" / "config.json").read_text())
    vae = json.loads((folder / "vae" / "config.json").read_text())
    weights = _original_unet(_part(folder, "unet"), unet["layers_per_block"]) | _original_vae(
        _part(folder, "vae"), len(vae["block_out_channels"])
    )
    if role == "base":
        first = {name.removeprefix("text_model."): weight for name, weight in _part(folder, "text_encoder").items()}
        weights |= {f"conditioner.embedders.0.transformer.text_model.{name}": weight for name, weight in first.items()}
    weights |= _original_open_clip(_part(folder, "text_encoder_2"), f"conditioner.embedders.{1 if role == 'base' else 0}.model.")
    save_file(weights, path, metadata={"format": "pt"})
    shutil.copytree(folder, path.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))
    return path


@pytest.fixture(scope="module")
def files(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    return {role: write_single_file(model_path / role, folder / f"my_{role}.safetensors", role) for role in ("base", "refiner")}


def test_single_files_paint_what_their_folders_paint(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, files: dict[str, Path]
) -> None:
    single = ModelSpec(base=str(files["base"]), refiner=str(files["refiner"]), device="cpu")
    assert models.check(single) == []
    identity = engine.identify(single)
    request = make_request(base_sha256=identity.base_sha256, refiner_sha256=identity.refiner_sha256)
    assert engine.paint(single, request).tobytes() == engine.paint(model, make_request()).tobytes()
    residents, sources = engine._loaded(), engine._sources(single)
    base, refiner = residents.parts(sources, "base"), residents.parts(sources, "refiner")
    assert base["text_encoder_2"] is refiner["text_encoder_2"], "shared by content, though the files differ"
    assert base["vae"] is refiner["vae"]


def test_checkpoints_are_told_apart(files: dict[str, Path]) -> None:
    assert {role: role_of(read_header(path)) for role, path in files.items()} == {"base": "base", "refiner": "refiner"}
    with pytest.raises(NegError, match="swapped"):
        models.check(ModelSpec(base=str(files["refiner"]), device="cpu"))


def test_an_unknown_scheduler_is_told(model_path: Path, tmp_path: Path) -> None:
    from daemon.engine.loading import load_parts

    folder = Path(shutil.copytree(model_path / "base", tmp_path / "base"))
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "UNet2DConditionModel"}))
    with pytest.raises(NegError, match="no scheduler"):
        load_parts(resolve(str(folder)), "base", ["scheduler"], "float32", "cpu", tmp_path)


def test_weights_of_another_shape_are_told(model_path: Path, tmp_path: Path) -> None:
    from daemon.engine.loading import load_parts

    folder = Path(shutil.copytree(model_path / "base", tmp_path / "base"))
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["decoder.conv_in.weight"] = weights["decoder.conv_in.weight"][:1]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(NegError, match="could not be loaded"):
        load_parts(resolve(str(folder)), "base", ["vae"], "float32", "cpu", tmp_path)
