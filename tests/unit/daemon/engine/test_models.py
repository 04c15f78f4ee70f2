from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.engine.models import LocalEngine
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRequest, ModelSpec

MakeRequest = Callable[..., ImageRequest]


def test_identifying_and_offering_need_no_torch(model: ModelSpec, adapter_path: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from daemon.engine.models import create_engine
from daemon.protocol.specs import ModelSpec
engine = create_engine(Path({str(tmp_path)!r}))
engine.identify(ModelSpec(base={model.base!r}, refiner={model.refiner!r}))
engine.offer_adapter(Path({str(adapter_path)!r}))
engine.close()
print(sorted({{name.split(".")[0] for name in sys.modules}} & {{"torch", "diffusers", "transformers", "peft", "safetensors"}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_replaced_vae_is_used_and_identified(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, model_path: Path, tmp_path: Path
) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    shutil.copytree(model_path / "base" / "vae", tmp_path / "vae")
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["decoder.conv_out.bias"] = weights["decoder.conv_out.bias"] + 1
    save_file(weights, path, metadata={"format": "pt"})
    replaced = ModelSpec(base=model.base, refiner=model.refiner, vae=str(tmp_path / "vae"), device="cpu")
    identity = engine.identify(replaced)
    assert identity.vae_sha256 is not None
    brighter = engine.paint(replaced, make_request(vae_sha256=identity.vae_sha256))
    assert sum(brighter.convert("L").histogram()[:128]) < sum(engine.paint(model, make_request()).convert("L").histogram()[:128])


def test_a_gpu_that_is_not_there_is_said(engine: LocalEngine, model: ModelSpec) -> None:
    from daemon.models import cuda_is_there

    if cuda_is_there():
        pytest.skip("there is a GPU here")
    with pytest.raises(NegError, match="no GPU"):
        engine.identify(ModelSpec(base=model.base, device="cuda"))
