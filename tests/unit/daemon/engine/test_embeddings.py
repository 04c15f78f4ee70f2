from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from daemon.engine.models import LocalEngine, create_engine
from daemon.files import sha256_file
from daemon.protocol.errors import NegError
from daemon.protocol.specs import EmbeddingRequest, ImageRequest, ModelSpec

MakeRequest = Callable[..., ImageRequest]
TOKEN = "<wrong>"
NUM_VECTORS = 3


def write_embedding(path: Path, seed: int = 0, num_vectors: int = NUM_VECTORS, clip_l: int = 64, clip_g: int = 96) -> Path:
    """Random vectors for the toy's two text encoders."""
    draw = np.random.default_rng(seed)
    dims = {"clip_l": clip_l, "clip_g": clip_g}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: draw.standard_normal((num_vectors, dim)).astype(np.float32) for key, dim in dims.items()}, path)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_embedding(tmp_path_factory.mktemp("embedding") / "learned_embeds.safetensors")


@pytest.fixture(scope="module")
def use(path: Path) -> EmbeddingRequest:
    return EmbeddingRequest(sha256=sha256_file(path), placeholder_token=TOKEN)


@pytest.fixture
def pipelines(model: ModelSpec) -> tuple[Any, Any]:
    """Base and refiner of plain diffusers."""
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    return tuple(
        kind.from_pretrained(path, torch_dtype=torch.float32, add_watermarker=False)
        for kind, path in ((StableDiffusionXLPipeline, model.base), (StableDiffusionXLImg2ImgPipeline, model.refiner))
    )  # type: ignore[return-value]


@pytest.fixture
def theirs(model: ModelSpec, path: Path) -> tuple[Any, Any]:
    """The same, with the embedding as plain diffusers loads it."""
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    base = StableDiffusionXLPipeline.from_pretrained(model.base, torch_dtype=torch.float32, add_watermarker=False)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(model.refiner, torch_dtype=torch.float32, add_watermarker=False)
    vectors = {key: torch.from_numpy(found) for key, found in load_file(path).items()}
    base.load_textual_inversion(vectors["clip_l"], token=TOKEN, text_encoder=base.text_encoder, tokenizer=base.tokenizer)
    for pipeline in (base, refiner):
        pipeline.load_textual_inversion(
            vectors["clip_g"], token=TOKEN, text_encoder=pipeline.text_encoder_2, tokenizer=pipeline.tokenizer_2
        )
    return base, refiner


@pytest.mark.parametrize("negative", ["<wrong>", "blurry, <wrong>, a red circle", "<wrong><wrong>", "plain words", None])
@pytest.mark.parametrize("eos_token_id", [889, 2])
def test_prompts_are_those_of_plain_diffusers(
    pipelines: tuple[Any, Any], theirs: tuple[Any, Any], path: Path, use: EmbeddingRequest, negative: str | None, eos_token_id: int
) -> None:
    """SDXL's own second encoder says eos_token_id = 2 and then pools at the largest id, which is a placeholder's where there is one."""
    import torch

    from daemon.engine.embeddings import EmbeddingShelf
    from daemon.engine.prompts import encode_for_base, encode_for_refiner

    shelf = EmbeddingShelf({use.sha256: path})
    for ours, other, encode in zip(pipelines, theirs, (encode_for_base, encode_for_refiner), strict=True):
        zeros = ours.config.force_zeros_for_empty_prompt
        for pipeline in (ours, other):
            pipeline.text_encoder_2.text_model.eos_token_id = eos_token_id
        with shelf.lent(ours.components, [use]) as parts:
            found = encode(parts, "two stars", negative, zeros)
        with torch.no_grad():
            expected = other.encode_prompt("two stars", negative_prompt=negative, do_classifier_free_guidance=True)
        for ours_one, their_one in zip(vars(found).values(), expected, strict=True):
            assert torch.equal(ours_one, their_one)


def test_all_vectors_are_weighted_together(pipelines: tuple[Any, Any], theirs: tuple[Any, Any], path: Path, use: EmbeddingRequest) -> None:
    import torch

    from daemon.engine.embeddings import EmbeddingShelf, vector_tokens
    from daemon.engine.prompts import encode_for_base

    spelt_out = " ".join(vector_tokens(TOKEN, NUM_VECTORS))
    assert spelt_out == "<wrong> <wrong>_1 <wrong>_2"
    with EmbeddingShelf({use.sha256: path}).lent(pipelines[0].components, [use]) as parts:
        found = [encode_for_base(parts, f"a circle, ({TOKEN}){weight}", None, True).prompt_embeds_1LD for weight in ("", "++", "0.5")]
    expected = [
        encode_for_base(theirs[0].components, f"a circle, ({spelt_out}){weight}", None, True).prompt_embeds_1LD
        for weight in ("", "++", "0.5")
    ]
    assert all(torch.equal(ours, other) for ours, other in zip(found, expected, strict=True))
    assert not torch.equal(found[0], found[1])


def test_nothing_is_left_behind_whatever_happens(pipelines: tuple[Any, Any], path: Path, use: EmbeddingRequest) -> None:
    import torch

    from daemon.engine.embeddings import EmbeddingShelf
    from daemon.engine.prompts import encode_for_base

    parts = pipelines[0].components
    shelf = EmbeddingShelf({use.sha256: path})
    before = encode_for_base(parts, TOKEN, "a <wrong> word", True)
    lengths, names = [len(parts[name]) for name in ("tokenizer", "tokenizer_2")], list(parts["text_encoder"].state_dict())
    inside: list[Any] = []
    with contextlib.suppress(ZeroDivisionError), shelf.lent(parts, [use]) as lent:
        inside.append(encode_for_base(lent, TOKEN, "a <wrong> word", True))
        assert list(parts["text_encoder"].state_dict()) == names
        raise ZeroDivisionError
    after = encode_for_base(parts, TOKEN, "a <wrong> word", True)
    assert [len(parts[name]) for name in ("tokenizer", "tokenizer_2")] == lengths
    assert not parts["text_encoder"].get_input_embeddings()._forward_hooks
    for name, tensor in vars(before).items():
        assert torch.equal(tensor, vars(after)[name])
        assert not torch.equal(tensor, vars(inside[0])[name])


def test_gradients_reach_the_vectors_and_nothing_else(pipelines: tuple[Any, Any]) -> None:
    import torch

    from daemon.engine.embeddings import PlaceholderTokenizer, looked_up

    encoder, tokenizer = pipelines[0].text_encoder, PlaceholderTokenizer(pipelines[0].tokenizer, {"<a>": 1, "<b>": 2})
    encoder.requires_grad_(False)
    vectors = torch.zeros(3, 64, requires_grad=True)
    with looked_up(encoder, tokenizer.first_id, lambda: vectors):
        encoder(torch.tensor([tokenizer("a <b> circle").input_ids])).last_hidden_state.square().sum().backward()
    assert vectors.grad is not None
    assert [bool(row.any()) for row in vectors.grad] == [False, True, True]
    assert not any(parameter.grad is not None for parameter in encoder.parameters())


def test_who_spells_the_vectors_out_himself_gets_them_once(pipelines: tuple[Any, Any]) -> None:
    from daemon.engine.embeddings import PlaceholderTokenizer

    tokenizer = PlaceholderTokenizer(pipelines[0].tokenizer, {TOKEN: 2})
    prompt = pipelines[0].maybe_convert_prompt("a <wrong>", tokenizer)
    first = tokenizer.first_id
    assert tokenizer(prompt).input_ids == tokenizer(["a <wrong>"]).input_ids[0]
    assert [number for number in tokenizer(prompt).input_ids if number >= first] == [first, first + 1]
    assert tokenizer.model_max_length == pipelines[0].tokenizer.model_max_length


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    made = create_engine(tmp_path_factory.mktemp("cache"))
    yield made
    made.close()


def test_an_embedding_acts_in_base_and_refiner_and_leaves_no_trace(
    fresh: LocalEngine, model: ModelSpec, make_request: MakeRequest, path: Path, use: EmbeddingRequest
) -> None:
    plain = make_request(negative_prompt=TOKEN)
    before = fresh.paint(model, plain)
    assert fresh.offer_embedding(path) == use.sha256
    learned = make_request(negative_prompt=TOKEN, embeddings=(use,))
    painted = fresh.paint(model, learned)
    assert painted.tobytes() != before.tobytes()
    assert fresh.paint(model, plain).tobytes() == before.tobytes()
    assert fresh.paint(model, learned).tobytes() == painted.tobytes()
    renamed = EmbeddingRequest(sha256=use.sha256, placeholder_token="<other>")
    assert fresh.paint(model, make_request(negative_prompt="<other>", embeddings=(renamed,))).tobytes() == painted.tobytes()


def test_two_embeddings_are_told_apart(
    fresh: LocalEngine, model: ModelSpec, make_request: MakeRequest, path: Path, use: EmbeddingRequest, tmp_path: Path
) -> None:
    other_path = write_embedding(tmp_path / "other.safetensors", seed=1, num_vectors=1)
    fresh.offer_embedding(path)
    other = EmbeddingRequest(sha256=fresh.offer_embedding(other_path), placeholder_token="<other>")
    alone = fresh.paint(model, make_request(negative_prompt=TOKEN, embeddings=(use,)))
    both = fresh.paint(model, make_request(negative_prompt=TOKEN, embeddings=(other, use)))
    assert both.tobytes() == alone.tobytes(), "one that is not named does nothing"
    named = fresh.paint(model, make_request(negative_prompt="<other>, <wrong>", embeddings=(other, use)))
    assert named.tobytes() != alone.tobytes()


@pytest.mark.parametrize(
    ("spoil", "token", "words"),
    [
        (lambda path: None, "<|endoftext|>", "is a token of this model"),
        (lambda path: path.unlink(), TOKEN, "not known"),
        (lambda path: write_embedding(path, seed=5), TOKEN, "has changed"),
    ],
)
def test_what_cannot_be_used_is_refused_and_painting_goes_on(
    fresh: LocalEngine, model: ModelSpec, make_request: MakeRequest, tmp_path: Path, spoil: Callable[[Path], None], token: str, words: str
) -> None:
    path = write_embedding(tmp_path / "one.safetensors", seed=len(words))
    use = EmbeddingRequest(sha256=fresh.offer_embedding(path), placeholder_token=token)
    spoil(path)
    before = fresh.paint(model, make_request())
    with pytest.raises(NegError, match=words):
        fresh.paint(model, make_request(negative_prompt=f"{token} {words}", embeddings=(use,)))
    assert fresh.paint(model, make_request()).tobytes() == before.tobytes()


@pytest.mark.parametrize(("clip_g", "spoilt", "words"), [(80, False, "clip_g vectors are 80 long, not 96"), (96, True, "not finite")])
def test_vectors_that_do_not_fit_are_refused(
    fresh: LocalEngine, model: ModelSpec, make_request: MakeRequest, tmp_path: Path, clip_g: int, spoilt: bool, words: str
) -> None:
    path = write_embedding(tmp_path / "one.safetensors", clip_g=clip_g)
    if spoilt:
        save_file({key: np.full_like(found, np.nan) for key, found in load_file(path).items()}, path)
    use = EmbeddingRequest(sha256=fresh.offer_embedding(path), placeholder_token=TOKEN)
    with pytest.raises(NegError, match=words):
        fresh.paint(model, make_request(negative_prompt=TOKEN, embeddings=(use,)))
