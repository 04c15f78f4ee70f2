from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pynvml
import pytest

from daemon import models
from daemon.models import identity
from daemon.models.headers import read_header
from daemon.models.sources import resolve
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ModelSpec
from daemon.toy import BASE_PATH, REFINER_PATH

TOY = ModelSpec(base="toy", refiner="toy-refiner", device="cpu")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BASE_PATH, tmp_path / "base"))


def test_the_toy_is_sound() -> None:
    assert models.check(TOY) == []


def test_equal_contents_have_equal_hashes_wherever_they_lie(copy: Path, tmp_path: Path) -> None:
    here, there = models.identify(TOY, tmp_path), models.identify(ModelSpec(base=str(copy), device="cpu"), tmp_path)
    assert here.base_sha256 == there.base_sha256
    assert here.torch_dtype == "float32"
    assert (there.refiner_sha256, there.vae_sha256) == (None, None)
    assert here.refiner_sha256 not in (None, here.base_sha256)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("scheduler/scheduler_config.json", "beta_end", 0.5),
        ("vae/config.json", "scaling_factor", 0.5),
        ("text_encoder/config.json", "hidden_act", "relu"),
        ("model_index.json", "force_zeros_for_empty_prompt", False),
        ("tokenizer/tokenizer_config.json", "pad_token", "!"),
    ],
)
def test_a_changed_setting_is_another_model(copy: Path, tmp_path: Path, name: str, key: str, value: object) -> None:
    spec = ModelSpec(base=str(copy), device="cpu")
    before = models.identify(spec, tmp_path)
    table = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps(table | {"_diffusers_version": "9", "_name_or_path": "x"}))
    assert models.identify(spec, tmp_path) == before, "versions and paths do not matter"
    (copy / name).write_text(json.dumps(table | {key: value}))
    assert models.identify(spec, tmp_path) != before


def test_changed_weights_are_another_model_even_at_the_same_size(copy: Path, tmp_path: Path) -> None:
    spec = ModelSpec(base=str(copy), device="cpu")
    before = models.identify(spec, tmp_path)
    path = copy / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    assert models.identify(spec, tmp_path) != before


def test_hashes_are_remembered_and_a_broken_memory_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = models.identify(TOY, tmp_path)
    read: list[Path] = []

    def counting(path: Path) -> str:
        read.append(path)
        return before_sha(path)

    before_sha = identity.sha256_file
    monkeypatch.setattr(identity, "sha256_file", counting)
    assert models.identify(TOY, tmp_path) == before
    assert not [path for path in read if path.suffix == ".safetensors"]
    (tmp_path / "hashes.json").write_text("{")
    assert models.identify(TOY, tmp_path) == before
    assert [path for path in read if path.suffix == ".safetensors"]


def test_base_and_refiner_share_what_is_the_same(tmp_path: Path) -> None:
    base = models.part_hashes(resolve("toy"), "base", "float32", tmp_path)
    refiner = models.part_hashes(resolve("toy-refiner"), "refiner", "float32", tmp_path)
    assert base["vae"] == refiner["vae"]
    assert base["text_encoder_2"] == refiner["text_encoder_2"]
    assert base["unet"] != refiner["unet"]


def test_swapped_models_are_told() -> None:
    with pytest.raises(NegError, match="swapped"):
        models.check(ModelSpec(base="toy-refiner", device="cpu"))
    with pytest.raises(NegError, match="swapped"):
        models.check(ModelSpec(base="toy", refiner="toy", device="cpu"))


@pytest.mark.parametrize("part", ["unet", "vae", "tokenizer", "text_encoder_2"])
def test_a_missing_part_is_told(copy: Path, part: str) -> None:
    shutil.rmtree(copy / part)
    with pytest.raises(NegError, match=part):
        models.check(ModelSpec(base=str(copy), device="cpu"))


def test_other_architectures_are_told(copy: Path) -> None:
    for name, change, words in [
        ("unet/config.json", {"addition_embed_type": None}, "text_time"),
        ("unet/config.json", {"addition_embed_type": "text_time", "cross_attention_dim": 7}, "do not fit"),
        ("model_index.json", {"_class_name": "StableDiffusionPipeline"}, "StableDiffusionPipeline"),
    ]:
        path = copy / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(NegError, match=words):
            models.check(ModelSpec(base=str(copy), device="cpu"))


def test_a_cut_weight_file_is_told(copy: Path) -> None:
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(NegError, match="not a sound safetensors file"):
        models.check(ModelSpec(base=str(copy), device="cpu"))


def test_a_file_that_is_cut_while_it_is_hashed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "whole.safetensors"
    shutil.copy(BASE_PATH / "vae" / "diffusion_pytorch_model.safetensors", path)
    header = read_header(path)
    os.truncate(path, path.stat().st_size - 1)
    monkeypatch.setattr(identity, "read_header", lambda path: header)
    with pytest.raises(NegError, match=r"whole\.safetensors .* while it was read"):
        identity._sha256_tensors(path, ("",))


def test_a_missing_refiner_and_a_slow_precision_are_warned_of() -> None:
    assert any("no refiner" in warning for warning in models.check(ModelSpec(base="toy", device="cpu")))
    assert any("slow" in warning for warning in models.check(ModelSpec(base="toy", device="cpu", torch_dtype="float16")))


def test_a_vae_folder_is_recognised(tmp_path: Path) -> None:
    shutil.copytree(BASE_PATH / "vae", tmp_path / "vae")
    spec = ModelSpec(base="toy", refiner="toy-refiner", vae=str(tmp_path / "vae"), device="cpu")
    assert models.check(spec) == []
    assert models.identify(spec, tmp_path).vae_sha256 is not None


def test_room_counts_shared_parts_once() -> None:
    refiner_unet = REFINER_PATH / "unet" / "diffusion_pytorch_model.safetensors"
    weights = sum(path.stat().st_size for path in (*BASE_PATH.rglob("*.safetensors"), refiner_unet))
    estimated = models.estimated_bytes(TOY, 64, 64) - models.working_bytes(64, 64, "float32")
    assert estimated == pytest.approx(2 * weights, rel=0.02), "the files hold float16"


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        (None, ("0", "1", "2")),
        ("2,0", ("2", "0")),
        ("1, 3,0", ("1",)),
        ("0,-1,1", ("0",)),
        ("GPU-3,MIG-5", ("GPU-3", "MIG-5")),
    ],
)
def test_the_gpus_are_those_that_cuda_would_see(named: str | None, wanted: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    see_gpus(3, monkeypatch)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert models.visible_gpus() == wanted


def test_each_process_wants_a_gpu_or_all_share_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    see_gpus(1, monkeypatch)
    models.require_gpus(ModelSpec(base="toy"), 1)
    models.require_gpus(ModelSpec(base="toy", device="cpu"), 8)
    with pytest.raises(NegError, match=r"training.num_processes is 2, and the daemon sees 1 GPU; each process takes one"):
        models.require_gpus(ModelSpec(base="toy"), 2)
    monkeypatch.setattr(identity, "cuda_is_there", lambda: False)
    models.require_gpus(ModelSpec(base="toy"), 8)
    assert models.visible_gpus() == ()


def see_gpus(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(identity, "cuda_is_there", lambda: True)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: count)
