from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from daemon.engine.models import LocalEngine, create_engine
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRequest, ModelSpec

MakeRequest = Callable[..., ImageRequest]


def test_a_tight_cap_paints_the_same_by_dropping_parts(
    engine: object, model: ModelSpec, make_request: MakeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = create_engine(tmp_path)
    request = make_request(num_inference_steps=5)
    whole = roomy.paint(model, request)
    roomy.close()
    monkeypatch.setenv("NEGTUI_MEMORY_CAP_GIB", "0.0001")
    tight = create_engine(tmp_path)
    assert tight.paint(model, request).tobytes() == whole.tobytes()
    resident = tight._loaded().store.keys()
    assert sum(key.startswith("unet:") for key in resident) == 1, "the base made room for the refiner"
    tight.close()


def test_a_picture_that_never_fits_is_gpu_oom_in_words(
    model: ModelSpec, make_request: MakeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    engine = create_engine(tmp_path)

    def on_step(step: int, num_steps: int, preview: Callable[[], bytes]) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(NegError) as caught:
        engine.paint(model, make_request(), on_step)
    assert caught.value.detail.code == "gpu_oom"
    assert engine.paint(model, make_request()).size == (64, 64)
    engine.close()


def test_an_exception_stops_at_that_step_and_the_engine_goes_on(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest) -> None:
    class Stop(Exception):
        pass

    steps = []

    def on_step(step: int, num_steps: int, preview: Callable[[], bytes]) -> None:
        steps.append(step)
        if step == stop_at:
            raise Stop

    request = make_request()
    whole = engine.paint(model, request)
    for stop_at in (2, 5):
        steps.clear()
        with pytest.raises(Stop):
            engine.paint(model, request, on_step)
        assert steps == list(range(1, stop_at + 1))
    assert engine.paint(model, request).tobytes() == whole.tobytes()


def test_steps_count_over_base_and_refiner_with_small_previews(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest) -> None:
    seen = []

    def on_step(step: int, num_steps: int, preview: Callable[[], bytes]) -> None:
        with Image.open(io.BytesIO(preview())) as image:
            seen.append((step, num_steps, image.format, image.size))

    engine.paint(model, make_request(), on_step)
    assert seen == [(step, 5, "JPEG", (64, 64)) for step in range(1, 6)]


def test_what_was_painted_before_does_not_matter(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest) -> None:
    request = make_request(prompt="a (blurry)1.4 red circle", negative_prompt="grainy")
    first = engine.paint(model, request)
    other = engine.paint(model, make_request(seed=12, guidance_scale=9.0, num_inference_steps=4, width=48))
    assert other.size == (48, 64)
    assert engine.paint(model, request).tobytes() == first.tobytes()


def test_a_half_precision_vae_that_overflows_is_upcast_and_put_back(
    model_path: Path, make_request: MakeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(model_path / "base", tmp_path / "base"))
    path = folder / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"force_upcast": True}))
    engine = create_engine(tmp_path)
    half = ModelSpec(base=str(folder), device="cpu", torch_dtype="float16")
    sha256 = engine.identify(half).base_sha256
    request = make_request(base_sha256=sha256, refiner_sha256=None, denoising_split=None, torch_dtype="float16", num_inference_steps=2)
    previews: list[bytes] = []
    first = engine.paint(half, request, lambda step, num_steps, preview: previews.append(preview()))
    assert len(previews) == 2
    vae = engine._loaded().parts(engine._sources(half), "base")["vae"]
    assert str(vae.dtype) == "torch.float16"
    dtypes = []

    def fail(*args: object, **kwargs: object) -> None:
        dtypes.append(str(vae.dtype))
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(vae, "decode", fail)
        with pytest.raises(ZeroDivisionError):
            engine.paint(half, request)
    assert dtypes == ["torch.float32"]
    assert str(vae.dtype) == "torch.float16"
    assert engine.paint(half, request).tobytes() == first.tobytes()
    engine.close()


def test_the_same_words_are_encoded_once(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import daemon.engine.painting as painting

    encoded: list[tuple[object, ...]] = []
    whole = painting.encode_for_base

    def counting(parts: object, *words: object) -> object:
        encoded.append(words)
        return whole(parts, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(painting, "encode_for_base", counting)
    for seed, negative in ((1, "ugly"), (2, "ugly"), (2, None)):
        engine.paint(model, make_request(prompt="a word never seen", seed=seed, negative_prompt=negative))
    assert [words[1] for words in encoded] == ["ugly", None]
