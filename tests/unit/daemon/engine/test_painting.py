from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec import UNSET
from PIL import Image
from safetensors.numpy import load_file, save_file

from daemon.engine.models import LocalEngine, create_engine
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest, ImageRequest, ModelSpec

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


def test_each_text_is_encoded_once_for_all_arms_and_seeds(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import daemon.engine.painting as painting

    encoded: list[object] = []
    whole = painting.encode_for_base

    def counting(parts: object, prompt: object, *others: object) -> object:
        encoded.append(prompt)
        return whole(parts, prompt, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(painting, "encode_for_base", counting)
    for seed, negative in ((1, "ugly, never seen"), (2, "ugly, never seen"), (2, None)):
        engine.paint(model, make_request(prompt="a word never seen", seed=seed, negative_prompt=negative))
    assert encoded == ["a word never seen", "ugly, never seen"]


def _arms(make_request: MakeRequest, sha256: str, **changes: object) -> list[ImageRequest]:
    """No adapter, both branches, the negative branch only, a weight below zero."""
    uses = ((), (_use(sha256, 1.0),), (_use(sha256, 0.0, 1.0),), (_use(sha256, -1.0),))
    return [make_request(adapters=use, negative_prompt="wrong", **changes) for use in uses]


def _use(sha256: str, positive: float, negative: float | None = None) -> AdapterRequest:
    return AdapterRequest(sha256=sha256, weight=positive, negative_weight=UNSET if negative is None else negative)


def _difference(one: Image.Image, other: Image.Image) -> int:
    """Largest difference of a pixel, of 255."""
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


@pytest.fixture(scope="module")
def gentle(engine: LocalEngine, adapter_path: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An adapter small enough not to blow roundings up."""
    path = tmp_path_factory.mktemp("gentle") / "pytorch_lora_weights.safetensors"
    save_file({name: weight * np.float32(0.1) for name, weight in load_file(adapter_path).items()}, path)
    return engine.offer_adapter(path)


def test_on_a_cpu_a_block_s_pictures_are_those_painted_alone(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, gentle: str
) -> None:
    arms = _arms(make_request, gentle)
    told: list[tuple[int, ...]] = []
    found = list(engine.paint_block(model, arms, lambda numbers, *progress: told.append(tuple(numbers))))
    assert [number for number, _ in found] == [0, 1, 2, 3]
    assert told == [(number,) for number in range(4) for _ in range(5)]
    assert len({image.tobytes() for _, image in found}) == 4
    assert all(engine.paint(model, arms[number]).tobytes() == image.tobytes() for number, image in found)


def test_painted_together_they_differ_by_rounding_and_the_unet_is_asked_once_a_step(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, gentle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [
        *_arms(make_request, gentle),
        make_request(guidance_start=0.4, guidance_scale=3.0),
        make_request(negative_prompt="wrong", refiner_negative_prompt=None),
        make_request(negative_prompt="a very long negative prompt, " * 20),
        make_request(refiner_sha256=None, denoising_split=None),
    ]
    alone = [engine.paint(model, request) for request in arms]
    monkeypatch.setenv("NEGTUI_PICTURES_TOGETHER", "8")
    unet = engine._loaded().parts(engine._sources(model), "base")["unet"]
    rows: list[int] = []
    counting = unet.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    together = dict(engine.paint_block(model, arms))
    counting.remove()
    assert sorted(together) == list(range(8))
    assert all(_difference(together[number], image) <= 1 for number, image in enumerate(alone))
    # Seven go through the refiner, the fifth without a negative branch in the first two of five steps; the one of longer words by itself.
    assert sorted(rows) == sorted([11, 11, 12, 12, *([2] * 4), *([2] * 5)])


def test_a_part_of_no_adapter_is_the_model_s_own(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, adapter_path: Path
) -> None:
    sha256 = engine.offer_adapter(adapter_path)
    without = engine.paint(model, make_request(guidance_scale=1.0))
    negative_only = engine.paint(model, make_request(guidance_scale=1.0, adapters=(_use(sha256, 0.0, 1.0),)))
    assert negative_only.tobytes() == without.tobytes(), "without guidance there is no negative branch for it to act in"
    with_lora = engine.paint(model, make_request(guidance_scale=1.0, adapters=(_use(sha256, 1.0),)))
    positive_only = engine.paint(model, make_request(guidance_scale=1.0, adapters=(_use(sha256, 1.0, 0.0),)))
    assert _difference(with_lora, without) > 20
    assert _difference(with_lora, positive_only) <= 1


def test_guidance_outside_its_window_is_a_scale_of_one(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest) -> None:
    never, one = make_request(negative_prompt="ugly", guidance_end=0.05), make_request(negative_prompt="ugly", guidance_scale=1.0)
    assert engine.paint(model, never).tobytes() == engine.paint(model, one).tobytes()
    always, usual = make_request(guidance_end=0.95), make_request()
    assert engine.paint(model, always).tobytes() == engine.paint(model, usual).tobytes(), "round(5 x 0.95) are all five steps"
    late, early = make_request(guidance_start=0.8), make_request(guidance_end=0.8)
    pictures = {engine.paint(model, request).tobytes() for request in (never, usual, late, early)}
    assert len(pictures) == 4, "of four base steps and one of the refiner, the last is the refiner's"


def test_a_refiner_of_its_own_negative_prompt_is_that_of_plain_diffusers(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest
) -> None:
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    base = StableDiffusionXLPipeline.from_pretrained(model.base, torch_dtype=torch.float32, add_watermarker=False)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(model.refiner, torch_dtype=torch.float32, add_watermarker=False)
    for pipeline in (base, refiner):
        pipeline.set_progress_bar_config(disable=True)
    request = make_request(negative_prompt="wrong", refiner_negative_prompt=None)
    generator = torch.Generator("cpu").manual_seed(request.seed)
    shared = {"prompt": request.prompt, "num_inference_steps": 5, "guidance_scale": 5.0, "generator": generator}
    latents = base(**shared, negative_prompt="wrong", width=64, height=64, denoising_end=0.8, output_type="latent").images
    theirs = refiner(**shared, image=latents, denoising_start=0.8).images[0]
    assert engine.paint(model, request).tobytes() == theirs.tobytes()


def test_an_adapter_that_cannot_act_on_one_branch_is_refused_before_anything_is_painted(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, adapter_path: Path, tmp_path: Path
) -> None:
    weights = load_file(adapter_path)
    outputs = {name.removesuffix(".lora_B.weight"): len(weight) for name, weight in weights.items() if name.endswith("lora_B.weight")}
    magnitudes = {f"{layer}.lora_magnitude_vector": np.ones(number, np.float32) for layer, number in outputs.items()}
    save_file(weights | magnitudes, tmp_path / "dora.safetensors")
    sha256 = engine.offer_adapter(tmp_path / "dora.safetensors")
    painted = []
    with pytest.raises(NegError, match=r"dora.safetensors is a DoRA, which cannot act on one branch") as caught:
        painted += engine.paint_block(model, [make_request(), make_request(adapters=(_use(sha256, 0.0, 1.0),))])
    assert (caught.value.detail.code, painted) == ("incompatible", [])
    both = engine.paint(model, make_request(adapters=(_use(sha256, 1.0),)))
    assert _difference(both, engine.paint(model, make_request())) > 20, "on both branches it acts"


def test_stopped_in_the_middle_of_a_batch_nothing_is_left_behind(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, gentle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = _arms(make_request, gentle)
    alone = [engine.paint(model, request) for request in arms]

    def stop(numbers: Sequence[int], step: int, *others: object) -> None:
        if step == 3:
            raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setenv("NEGTUI_PICTURES_TOGETHER", "4")
        with pytest.raises(InterruptedError):
            list(engine.paint_block(model, arms, stop))
    assert [engine.paint(model, request).tobytes() for request in arms] == [image.tobytes() for image in alone]


def test_what_does_not_fit_together_is_painted_in_smaller_parts(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, gentle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    arms = _arms(make_request, gentle, num_inference_steps=2, refiner_sha256=None, denoising_split=None)
    monkeypatch.setenv("NEGTUI_PICTURES_TOGETHER", "4")
    tried: list[tuple[int, ...]] = []

    def too_many(numbers: Sequence[int], *others: object) -> None:
        tried.append(tuple(numbers))
        if len(numbers) > 2:
            raise torch.OutOfMemoryError

    assert [number for number, _ in engine.paint_block(model, arms, too_many)] == [0, 1, 2, 3]
    assert tried == [(0, 1, 2, 3), (0, 1), (0, 1), (2, 3), (2, 3)]
