from __future__ import annotations

import io
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
