from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from daemon.engine.models import LocalEngine
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest, ImageRequest, ModelSpec

SCRIPT = Path(__file__).parents[3] / "trips" / "plain_diffusers.py"
MakeRequest = Callable[..., ImageRequest]


def test_the_plain_script_paints_the_same_pixels(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, adapter_path: Path, tmp_path: Path
) -> None:
    import torch

    sha256 = engine.offer_adapter(adapter_path)
    request = make_request(negative_prompt="wrong", adapters=(AdapterRequest(sha256=sha256, weight=0.7),))
    ours = engine.paint(model, request)
    out = tmp_path / "plain.png"
    assert model.refiner is not None
    arguments = {
        "--base": model.base, "--refiner": model.refiner, "--adapter": str(adapter_path.parent), "--adapter-weight": "0.7",
        "--prompt": request.prompt, "--negative": "wrong", "--seed": "11", "--guidance": "5.0", "--steps": "5", "--split": "0.8",
        "--size": "64", "--out": str(out),
    }  # fmt: skip
    flat = [word for pair in arguments.items() for word in pair]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, SCRIPT, *flat], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with Image.open(out) as theirs:
        assert theirs.tobytes() == ours.tobytes()


def test_the_plain_pipelines_paint_the_same_without_a_negative_prompt(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest
) -> None:
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    base = StableDiffusionXLPipeline.from_pretrained(model.base, torch_dtype=torch.float32, add_watermarker=False)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(model.refiner, torch_dtype=torch.float32, add_watermarker=False)
    for pipeline in (base, refiner):
        pipeline.set_progress_bar_config(disable=True)
    request = make_request()
    generator = torch.Generator("cpu").manual_seed(request.seed)
    shared = {"prompt": request.prompt, "num_inference_steps": 5, "guidance_scale": 5.0, "generator": generator}
    latents = base(**shared, width=64, height=64, denoising_end=0.8, output_type="latent").images
    theirs = refiner(**shared, image=latents, denoising_start=0.8).images[0]
    assert engine.paint(model, request).tobytes() == theirs.tobytes()


def test_the_base_alone_paints_to_the_end(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest) -> None:
    import torch
    from diffusers import StableDiffusionXLPipeline

    base = StableDiffusionXLPipeline.from_pretrained(model.base, torch_dtype=torch.float32, add_watermarker=False)
    base.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(11)
    theirs = base(make_request().prompt, num_inference_steps=5, guidance_scale=5.0, generator=generator, width=64, height=64).images[0]
    alone = ModelSpec(base=model.base, device="cpu")
    ours = engine.paint(alone, make_request(refiner_sha256=None, denoising_split=None))
    assert ours.tobytes() == theirs.tobytes()


def test_a_request_for_other_weights_is_refused(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest) -> None:
    with pytest.raises(NegError) as caught:
        engine.paint(model, make_request(base_sha256="0" * 64))
    assert caught.value.detail.code == "conflict"


def test_a_malformed_weight_is_refused_before_painting(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest) -> None:
    with pytest.raises(NegError, match=r"\(blurry\)1\.5"):
        engine.paint(model, make_request(prompt="a (blurry:1.5) circle"))
