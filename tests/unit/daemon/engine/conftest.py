"""A model of the toy's structure in which every weight counts (the toy may be untrained, with zeros where training begins)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from daemon.engine.models import LocalEngine, create_engine
from daemon.protocol.specs import ImageRequest, ModelSpec
from daemon.toy import BASE_PATH, REFINER_PATH

RANK = 2


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with base/ and refiner/: copies of the toy, zero weights replaced by small random ones."""
    root = tmp_path_factory.mktemp("model")
    for source, name in ((BASE_PATH, "base"), (REFINER_PATH, "refiner")):
        shutil.copytree(source, root / name)
        path = root / name / "unet" / "diffusion_pytorch_model.safetensors"
        weights = load_file(path)
        generator = np.random.default_rng(7)
        for key in sorted(weights):
            if key.endswith(".weight") and not weights[key].any():
                weights[key] = (0.03 * generator.standard_normal(weights[key].shape)).astype(weights[key].dtype)
        save_file(weights, path, metadata={"format": "pt"})
    return root


@pytest.fixture(scope="session")
def model(model_path: Path) -> ModelSpec:
    return ModelSpec(base=str(model_path / "base"), refiner=str(model_path / "refiner"), device="cpu")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    made = create_engine(tmp_path_factory.mktemp("cache"))
    yield made
    made.close()


MakeRequest = Callable[..., ImageRequest]


@pytest.fixture(scope="session")
def make_request(engine: LocalEngine, model: ModelSpec) -> MakeRequest:
    """A small request on `model`; keyword arguments replace its fields."""
    identity = engine.identify(model)

    def make(**changes: object) -> ImageRequest:
        fields: dict[str, object] = {
            "base_sha256": identity.base_sha256,
            "refiner_sha256": identity.refiner_sha256,
            "torch_dtype": identity.torch_dtype,
            "prompt": "two small green squares on a white background",
            "seed": 11,
            "guidance_scale": 5.0,
            "num_inference_steps": 5,
            "width": 64,
            "height": 64,
            "denoising_split": 0.8,
        }
        return ImageRequest(**(fields | changes))  # type: ignore[arg-type]

    return make


def write_adapter(path: Path, unet_path: Path, seed: int, scale: float = 0.5) -> Path:
    """A LoRA of random weights on the attention of a UNet, as diffusers saves it."""
    generator = np.random.default_rng(seed)
    weights = {}
    for key, weight in load_file(unet_path / "diffusion_pytorch_model.safetensors").items():
        module = key.removesuffix(".weight")
        if module.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            out_features, in_features = weight.shape
            weights[f"unet.{module}.lora_A.weight"] = generator.standard_normal((RANK, in_features)).astype(np.float32)
            weights[f"unet.{module}.lora_B.weight"] = (scale * generator.standard_normal((out_features, RANK))).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path, metadata={"format": "pt"})
    return path


@pytest.fixture(scope="session")
def adapter_path(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    return write_adapter(folder / "pytorch_lora_weights.safetensors", model_path / "base" / "unet", seed=1)


@pytest.fixture(scope="session")
def make_adapter(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> Callable[[int], Path]:
    """Another adapter for every seed."""

    def make(seed: int) -> Path:
        return write_adapter(tmp_path_factory.mktemp("adapter") / "pytorch_lora_weights.safetensors", model_path / "base" / "unet", seed)

    return make
