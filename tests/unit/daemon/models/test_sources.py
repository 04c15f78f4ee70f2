from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.models.sources import cached_snapshot, read_json, resolve, wanted_files, weight_files
from daemon.protocol.errors import NegError
from daemon.toy import BASE_PATH, REFINER_PATH


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def _snapshot(cache: Path, hub_id: str, revision: str = "abc") -> Path:
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(revision)
    return snapshot


def test_the_toy_goes_by_its_name() -> None:
    assert resolve("toy").path == BASE_PATH
    assert resolve("toy-refiner").path == REFINER_PATH


def test_folders_files_and_cached_hub_ids_are_found(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.safetensors").write_bytes(b"")
    snapshot = _snapshot(cache, "someone/sdxl")
    assert (resolve(str(tmp_path / "folder")).kind, resolve(str(tmp_path / "a.safetensors")).kind) == ("folder", "file")
    assert resolve("someone/sdxl").path == snapshot
    assert cached_snapshot("someone/else") is None


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.BIN"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(NegError, match="pickle"):
        resolve(str(tmp_path / name))


def test_what_is_not_there_is_told(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(NegError, match="no model at"):
        resolve(str(tmp_path / "nothing"))
    with pytest.raises(NegError, match="allow_download"):
        resolve("someone/sdxl")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(NegError, match=r"no \.safetensors file"):
        resolve(str(tmp_path / "a.txt"))


def test_half_precision_files_are_taken_for_half_precision(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.fp16.safetensors"):
        (tmp_path / name).write_bytes(b"")
    assert weight_files(tmp_path, "float16")[0].name == "model.fp16.safetensors"
    assert weight_files(tmp_path, "float32")[0].name == "model.safetensors"


def test_shards_are_found_and_may_not_lead_out(tmp_path: Path) -> None:
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "x-2.safetensors", "b": "x-1.safetensors"}}))
    with pytest.raises(NegError, match="is missing"):
        weight_files(tmp_path, "float32")
    for name in ("x-1.safetensors", "x-2.safetensors"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in weight_files(tmp_path, "float32")] == ["x-1.safetensors", "x-2.safetensors"]
    index.write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    with pytest.raises(NegError, match="outside"):
        weight_files(tmp_path, "float32")


def test_only_pickled_weights_are_told(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(NegError, match="pickled"):
        weight_files(tmp_path, "float32")


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000])
def test_broken_configurations_are_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(NegError) as caught:
        read_json(path)
    assert caught.value.detail.code == "corrupt"


def test_a_download_takes_configurations_and_one_precision() -> None:
    names = [
        "model_index.json", "README.md", "sd_xl_base_1.0.safetensors", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors", "unet/model.onnx", "vae/diffusion_pytorch_model.safetensors",
        "tokenizer/merges.txt", "text_encoder/pytorch_model.bin", "text_encoder/model.fp16.safetensors",
    ]  # fmt: skip
    assert wanted_files(names) == [
        "model_index.json", "text_encoder/model.fp16.safetensors", "tokenizer/merges.txt", "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.safetensors",
    ]  # fmt: skip
    assert wanted_files(["config.json", "diffusion_pytorch_model.safetensors"]) == ["config.json", "diffusion_pytorch_model.safetensors"]
