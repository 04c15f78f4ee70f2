from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from daemon.engine.models import LocalEngine, create_engine
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest, ImageRequest, ModelSpec

MakeRequest = Callable[..., ImageRequest]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """An engine whose UNet has carried nothing yet."""
    made = create_engine(tmp_path_factory.mktemp("cache"))
    yield made
    made.close()


@pytest.fixture
def short(make_request: MakeRequest) -> MakeRequest:
    """Requests of two steps on the base alone."""

    def make(*adapters: AdapterRequest) -> ImageRequest:
        return make_request(adapters=adapters, num_inference_steps=2, refiner_sha256=None, denoising_split=None)

    return make


def _use(sha256: str, weight: float = 1.0) -> AdapterRequest:
    return AdapterRequest(sha256=sha256, weight=weight)


def test_adapters_of_other_trainers_act_the_same(
    fresh: LocalEngine, model: ModelSpec, short: MakeRequest, adapter_path: Path, tmp_path: Path
) -> None:
    kohya = {}
    for name, weight in load_file(adapter_path).items():
        module, side = name.removeprefix("unet.").removesuffix(".weight").rsplit(".lora_", 1)
        prefix = f"lora_unet_{module.replace('.', '_')}"
        kohya[f"{prefix}.lora_{'down' if side == 'A' else 'up'}.weight"] = weight
        kohya[f"{prefix}.alpha"] = np.array(2.0, np.float32)
    save_file(kohya, tmp_path / "kohya.safetensors")
    alone = ModelSpec(base=model.base, device="cpu")
    ours = fresh.paint(alone, short(_use(fresh.offer_adapter(adapter_path))))
    theirs = fresh.paint(alone, short(_use(fresh.offer_adapter(tmp_path / "kohya.safetensors"))))
    assert not _differ(ours, theirs)


def _differ(one: Image.Image, other: Image.Image) -> bool:
    return one.tobytes() != other.tobytes()


def test_adapters_act_when_asked_and_leave_no_trace(
    fresh: LocalEngine, model: ModelSpec, short: MakeRequest, adapter_path: Path, make_adapter: Callable[[int], Path]
) -> None:
    alone = ModelSpec(base=model.base, device="cpu")
    never = fresh.paint(alone, short())
    one, two = fresh.offer_adapter(adapter_path), fresh.offer_adapter(make_adapter(2))
    with_one = fresh.paint(alone, short(_use(one)))
    assert _differ(with_one, never)
    assert not _differ(fresh.paint(alone, short()), never), "inert when not asked for"
    assert not _differ(fresh.paint(alone, short(_use(one))), with_one), "on again after having been off"
    both = fresh.paint(alone, short(_use(one), _use(two, 0.5)))
    assert _differ(both, with_one)
    assert not _differ(fresh.paint(alone, short(_use(one))), with_one), "the other one left no trace"
    assert not _differ(fresh.paint(alone, short(_use(one, 0.0))), never), "weight 0 is none"
    assert _differ(fresh.paint(alone, short(_use(one, -1.0))), with_one)


def test_the_same_adapter_twice_adds_up(fresh: LocalEngine, model: ModelSpec, short: MakeRequest, adapter_path: Path) -> None:
    alone = ModelSpec(base=model.base, device="cpu")
    sha256 = fresh.offer_adapter(adapter_path)
    assert not _differ(fresh.paint(alone, short(_use(sha256, 0.5), _use(sha256, 0.5))), fresh.paint(alone, short(_use(sha256))))


def test_at_most_so_many_stay_and_the_oldest_goes(
    fresh: LocalEngine, model: ModelSpec, short: MakeRequest, make_adapter: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import daemon.engine.adapters as adapters

    monkeypatch.setattr(adapters, "MAX_RESIDENT", 2)
    alone = ModelSpec(base=model.base, device="cpu")
    offered = [fresh.offer_adapter(make_adapter(seed)) for seed in (20, 21, 22)]
    first = fresh.paint(alone, short(_use(offered[0])))
    for sha256 in offered[1:]:
        fresh.paint(alone, short(_use(sha256)))
    residents = fresh._loaded()
    unet = residents.parts(fresh._sources(alone), "base")["unet"]
    assert residents.shelf.carried(unet) == tuple(offered[1:])
    assert len(unet.peft_config) == 2
    assert not _differ(fresh.paint(alone, short(_use(offered[0]))), first), "a dropped one is loaded again"


def test_a_changed_or_unknown_file_is_refused(
    fresh: LocalEngine, model: ModelSpec, short: MakeRequest, make_adapter: Callable[[int], Path]
) -> None:
    alone = ModelSpec(base=model.base, device="cpu")
    with pytest.raises(NegError, match="not known"):
        fresh.paint(alone, short(_use("f" * 64)))
    path = make_adapter(30)
    sha256 = fresh.offer_adapter(path)
    weights = load_file(path)
    save_file({name: weight * 2 for name, weight in weights.items()}, path)
    with pytest.raises(NegError, match="has changed"):
        fresh.paint(alone, short(_use(sha256)))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda weights, name: {**weights, name: np.full_like(weights[name], np.nan)}, "not finite"),
        (lambda weights, name: {**weights, name: weights[name][:, :-1].copy()}, "does not fit"),
        (lambda weights, name: {"unet.nowhere.to_q.lora_A.weight": weights[name]}, "does not fit"),
    ],
)
def test_a_spoilt_file_is_refused_and_the_unet_stays_clean(
    fresh: LocalEngine, model: ModelSpec, short: MakeRequest, make_adapter: Callable[[int], Path], spoil: Callable, words: str
) -> None:
    alone = ModelSpec(base=model.base, device="cpu")
    before = fresh.paint(alone, short())
    path = make_adapter(31)
    weights = load_file(path)
    save_file(spoil(weights, next(name for name in sorted(weights) if "lora_A" in name)), path)
    with pytest.raises(NegError, match=words):
        fresh.paint(alone, short(_use(fresh.offer_adapter(path))))
    assert not _differ(fresh.paint(alone, short()), before)


def test_the_refiner_carries_no_adapter(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, adapter_path: Path) -> None:
    engine.paint(model, make_request(adapters=(_use(engine.offer_adapter(adapter_path)),)))
    residents = engine._loaded()
    refiner = residents.parts(engine._sources(model), "refiner")
    for name in ("unet", "text_encoder_2"):
        assert not [key for key, _ in refiner[name].named_parameters() if "lora" in key]


def _random_file(path: Path, model: ModelSpec, shapes: Callable[[int, int], dict[str, tuple[int, int]]], *parts: str) -> Path:
    """An adapter of random weights on all attention of these parts of the base."""
    generator, weights = np.random.default_rng(5), {}
    for part in parts:
        name = "diffusion_pytorch_model" if part == "unet" else "model"
        for key, weight in sorted(load_file(Path(model.base) / part / f"{name}.safetensors").items()):
            layer = key.removesuffix(".weight")
            if layer.endswith(("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")):
                layer = layer if part == "unet" or layer.startswith("text_model.") else f"text_model.{layer}"
                for suffix, shape in shapes(*weight.shape).items():
                    weights[f"{part}.{layer}.{suffix}"] = (0.3 * generator.standard_normal(shape)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)
    return path


def _lora(num_outputs: int, num_inputs: int) -> dict[str, tuple[int, int]]:
    return {"lora_A.weight": (2, num_inputs), "lora_B.weight": (num_outputs, 2)}


def _loha(num_outputs: int, num_inputs: int) -> dict[str, tuple[int, int]]:
    return {
        "hada_w1_a": (num_outputs, 2),
        "hada_w1_b": (2, num_inputs),
        "hada_w2_a": (num_outputs, 2),
        "hada_w2_b": (2, num_inputs),
    }


def _lokr(num_outputs: int, num_inputs: int) -> dict[str, tuple[int, int]]:
    from peft.tuners.lokr.layer import factorization

    (out_small, out_large), (in_small, in_large) = factorization(num_outputs, -1), factorization(num_inputs, -1)
    return {"lokr_w1": (out_small, in_small), "lokr_w2_a": (out_large, 2), "lokr_w2_b": (2, in_large)}


def test_adapters_of_all_kinds_live_together_and_leave_no_trace(
    fresh: LocalEngine, model: ModelSpec, short: MakeRequest, tmp_path: Path
) -> None:
    alone = ModelSpec(base=model.base, device="cpu")
    never = fresh.paint(alone, short())
    kinds = {"lora": _lora, "loha": _loha, "lokr": _lokr}
    offered = [fresh.offer_adapter(_random_file(tmp_path / f"{name}.safetensors", model, kinds[name], "unet")) for name in kinds]
    each = [fresh.paint(alone, short(_use(sha256))) for sha256 in offered]
    together = fresh.paint(alone, short(*(_use(sha256) for sha256 in offered)))
    pictures = [never, *each, together]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    for sha256, picture in zip(reversed(offered), reversed(each), strict=True):
        assert not _differ(fresh.paint(alone, short(_use(sha256))), picture)
        assert _differ(fresh.paint(alone, short(_use(sha256, -0.5))), picture)
    assert not _differ(fresh.paint(alone, short()), never)


def test_an_adapter_of_the_text_encoders_acts_on_the_words_of_the_base_alone(
    model: ModelSpec, make_request: MakeRequest, tmp_path: Path
) -> None:
    import torch

    path = _random_file(tmp_path / "text.safetensors", model, _lora, "unet", "text_encoder", "text_encoder_2")
    bare = _random_file(tmp_path / "unet.safetensors", model, _lora, "unet")
    engine, other = create_engine(tmp_path / "one"), create_engine(tmp_path / "two")
    try:
        with_text = engine.paint(model, make_request(adapters=(_use(engine.offer_adapter(path)),)))
        half = engine.paint(model, make_request(adapters=(_use(engine.offer_adapter(path), 0.5),)))
        plain = engine.paint(model, make_request())
        never = other.paint(model, make_request())
        without = other.paint(model, make_request(adapters=(_use(other.offer_adapter(bare)),)))
        assert not _differ(plain, never)
        assert len({picture.tobytes() for picture in (with_text, half, plain, without)}) == 4
        assert not _differ(engine.paint(model, make_request(adapters=(_use(engine.offer_adapter(path)),))), with_text)
        theirs, ours = (
            [found.prompt_embeds_1LD for key, found in one._loaded()._embeddings.items() if key[0] == "refiner"] for one in (other, engine)
        )
        assert len(ours) == len(theirs) == 2, "the refiner's prompt and its empty negative are the same whatever acts on the base's"
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
        with engine.borrow_training_parts(model) as parts:
            for module in (parts.unet, parts.text_encoder, parts.text_encoder_2):
                assert not any("lora" in name for name, _ in module.named_parameters())
        assert not _differ(engine.paint(model, make_request(adapters=(_use(engine.offer_adapter(path)),))), with_text)
    finally:
        engine.close()
        other.close()


def test_plain_diffusers_paints_the_same_with_an_adapter_of_the_text_encoders(
    fresh: LocalEngine, model: ModelSpec, short: MakeRequest, tmp_path: Path
) -> None:
    import torch
    from diffusers import StableDiffusionXLPipeline

    path = _random_file(tmp_path / "text.safetensors", model, _lora, "unet", "text_encoder", "text_encoder_2")
    request = short(_use(fresh.offer_adapter(path), 0.7))
    ours = fresh.paint(ModelSpec(base=model.base, device="cpu"), request)
    pipeline = StableDiffusionXLPipeline.from_pretrained(model.base, torch_dtype=torch.float32, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(str(tmp_path), weight_name=path.name, adapter_name="negative")
    pipeline.set_adapters(["negative"], [0.7])
    theirs = pipeline(
        request.prompt,
        width=request.width,
        height=request.height,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(request.seed),
    ).images[0]
    assert not _differ(ours, theirs)
