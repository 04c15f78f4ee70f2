from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file
from tiny_sdxl import IDENTITY, SPEC, make_parts, stock_pipeline

from daemon import files
from daemon.training.adapters.attach import attached
from daemon.training.adapters.textual_inversion import attached_embedding
from daemon.training.objective import conditioning
from daemon.training.objective.conditioning import (
    CachedConditioner,
    Conditioning,
    LiveConditioner,
    conditioning_key,
    encode_caption,
    is_cut,
    make_conditioner,
)

CAPTIONS = ("wrong", None, "a red circle", "wrong")


@pytest.fixture
def num_encoded(parts: Any) -> Iterator[list[int]]:
    """How often the second text encoder was asked."""
    asked = [0]

    def count(*_: object) -> None:
        asked[0] += 1

    handle = parts.text_encoder_2.register_forward_hook(count)
    yield asked
    handle.remove()


def same(left: Conditioning, right: Conditioning) -> bool:
    return torch.equal(left.prompt_embeds, right.prompt_embeds) and torch.equal(left.pooled_prompt_embeds, right.pooled_prompt_embeds)


@pytest.mark.parametrize("forces_zeros", [True, False])
def test_captions_are_encoded_as_the_pipeline_does(forces_zeros: bool) -> None:
    parts = make_parts()
    parts.force_zeros_for_empty_prompt = forces_zeros
    pipeline = stock_pipeline(parts)
    pipeline.register_to_config(force_zeros_for_empty_prompt=forces_zeros)
    with torch.no_grad():
        embeds, negative, pooled, negative_pooled = pipeline.encode_prompt("a red circle", device="cpu", do_classifier_free_guidance=True)
        found, unconditional = LiveConditioner(parts).encode(["a red circle"]), LiveConditioner(parts).encode([None])
    assert same(found, Conditioning(embeds, pooled))
    assert same(unconditional, Conditioning(negative, negative_pooled))
    assert bool(unconditional.prompt_embeds.any()) != forces_zeros


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cached_and_live_are_equal_bit_for_bit_also_from_disk_and_under_autocast(tmp_path: Path, dtype: str) -> None:
    parts = make_parts(dtype=dtype)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        live = LiveConditioner(parts).encode(CAPTIONS)
    assert live.prompt_embeds.dtype == live.pooled_prompt_embeds.dtype == parts.dtype
    assert (len(live.prompt_embeds), len(live.pooled_prompt_embeds)) == (4, 4)
    for _ in range(2):
        cached = CachedConditioner(parts, parts.identity, tmp_path)
        assert same(cached.encode(CAPTIONS), live)
        assert not cached.encode(CAPTIONS).prompt_embeds.requires_grad
    alone = LiveConditioner(parts).encode(["a red circle"])
    assert same(live.rows([2]), Conditioning(alone.prompt_embeds.detach(), alone.pooled_prompt_embeds.detach()))


def test_every_caption_is_encoded_once_and_never_again_from_disk(parts: Any, tmp_path: Path, num_encoded: list[int]) -> None:
    first = CachedConditioner(parts, IDENTITY, tmp_path)
    first.prepare(CAPTIONS)
    for _ in range(3):
        first.encode(CAPTIONS)
        first.encode(CAPTIONS[:1])
    assert num_encoded == [3]
    assert len(list(tmp_path.iterdir())) == 3
    CachedConditioner(parts, IDENTITY, tmp_path).encode(CAPTIONS)
    assert num_encoded == [3]


@pytest.mark.parametrize("harm", ["delete", "cut", "empty", "another"])
def test_the_cache_may_be_deleted_or_damaged_at_any_time(parts: Any, tmp_path: Path, num_encoded: list[int], harm: str) -> None:
    wanted = CachedConditioner(parts, IDENTITY, tmp_path).encode(["wrong"])
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    if harm == "delete":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-9], "empty": b"", "another": content.replace(b"pooled_", b"polled_")}[harm])
    assert same(CachedConditioner(parts, IDENTITY, tmp_path).encode(["wrong"]), wanted)
    assert num_encoded == [2]
    assert set(load_file(path)) == {"prompt_embeds", "pooled_prompt_embeds"}


def test_what_is_read_back_without_a_hash_outlives_a_power_loss(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_file", synced.append)
    CachedConditioner(parts, IDENTITY, tmp_path).prepare(CAPTIONS)
    assert len(synced) == 3


def test_all_that_decides_embeddings_is_in_their_name(parts: Any) -> None:
    other = msgspec.structs.replace(IDENTITY, base_sha256="c" * 64)
    half = msgspec.structs.replace(IDENTITY, torch_dtype="bfloat16")
    keys = [conditioning_key(caption, parts, IDENTITY) for caption in ("wrong", "", None)]
    keys += [conditioning_key("wrong", parts, identity) for identity in (other, half)]
    assert len(set(keys)) == 5
    refiner_only = msgspec.structs.replace(IDENTITY, refiner_sha256="d" * 64)
    assert conditioning_key("wrong", parts, refiner_only) == keys[0]


def test_memory_holds_the_last_captions_only(parts: Any, tmp_path: Path, num_encoded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    one = encode_caption(parts, "a")
    num_encoded[0] = 0
    monkeypatch.setattr(conditioning, "MAX_RESIDENT_BYTES", 3 * (one.prompt_embeds.nbytes + one.pooled_prompt_embeds.nbytes))
    cached = CachedConditioner(parts, IDENTITY, tmp_path)
    captions = [f"picture {number}" for number in range(8)]
    wanted = {caption: cached.encode([caption]) for caption in captions}
    assert len(cached._captions) == 3
    assert all(same(cached.encode([caption]), wanted[caption]) for caption in captions)
    assert num_encoded == [8]


def test_gradients_flow_through_the_text_encoders_where_they_are_trained(parts: Any) -> None:
    spec = msgspec.structs.replace(SPEC, train_text_encoder=True)
    with torch.no_grad():
        before = LiveConditioner(parts).encode(CAPTIONS)
    with attached(parts, spec) as adapter:
        found = LiveConditioner(parts).encode(CAPTIONS)
        # A fresh adapter changes nothing, to the bit.
        assert same(Conditioning(found.prompt_embeds.detach(), found.pooled_prompt_embeds.detach()), before)
        (found.prompt_embeds.sum() + found.pooled_prompt_embeds.square().sum()).backward()
        moved = {name.split(".")[0] for name, weight in adapter.parameters.items() if weight.grad is not None and bool(weight.grad.any())}
        assert moved == {"text_encoder", "text_encoder_2"}


def test_gradients_reach_a_learned_token_and_its_captions_only(parts: Any) -> None:
    spec = msgspec.structs.replace(SPEC, method="textual_inversion", num_vectors=2)
    with torch.no_grad():
        before = LiveConditioner(parts).encode(["a red circle"])
    with attached_embedding(parts, spec) as embedding:
        live = LiveConditioner(parts)
        found = live.encode(["<wrong>", "a red circle"])
        assert same(found.rows([1]), before)
        found.prompt_embeds.sum().backward()
        assert all(bool(vectors.grad.any()) for vectors in embedding.parameters.values())
        with torch.no_grad():
            for vectors in embedding.parameters.values():
                vectors += 0.5
            moved = live.encode(["<wrong>"])
            with embedding.off():
                assert same(live.encode(["<wrong>"]), found.rows([0]))
        assert not torch.equal(moved.prompt_embeds, found.prompt_embeds[:1])


def test_encoders_in_training_are_never_cached(parts: Any, tmp_path: Path) -> None:
    assert isinstance(make_conditioner(SPEC, parts, IDENTITY, tmp_path), CachedConditioner)
    for changes in ({"train_text_encoder": True}, {"method": "textual_inversion"}):
        assert isinstance(make_conditioner(msgspec.structs.replace(SPEC, **changes), parts, IDENTITY, tmp_path), LiveConditioner)


def test_captions_that_are_too_long_are_known(parts: Any) -> None:
    assert not is_cut(parts, "wrong")
    assert is_cut(parts, "wrong " * 40)


def test_rows_are_repeated_chosen_and_put_together() -> None:
    one, two = (Conditioning(torch.full((1, 2, 3), value), torch.full((1, 4), value)) for value in (1.0, 2.0))
    both = Conditioning.cat([one, two])
    assert both.prompt_embeds[:, 0, 0].tolist() == [1.0, 2.0]
    assert both.repeat(2).pooled_prompt_embeds[:, 0].tolist() == [1.0, 2.0, 1.0, 2.0]
    assert same(both.rows(slice(1, 2)), two)
    assert Conditioning.cat([one]) is one
