"""Textual inversion: two encoders learn vectors for one word, everything else stays to the bit, and diffusers reads what is saved."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_sdxl import SPEC, make_parts, stock_pipeline

from daemon.models.embedding_files import PLACEHOLDER_KEY, check_embedding_file, placeholder_token
from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.textual_inversion import LearnedEmbedding, attached_embedding, from_file, to_file
from daemon.training.objective.conditioning import LiveConditioner
from daemon.training.optimizers.make import AdapterOptimizer

INVERSION = msgspec.structs.replace(
    SPEC, method="textual_inversion", placeholder_token="<wrong>", initializer_token="low quality", num_vectors=3, instance_prompt="<wrong>"
)


def state(parts: Any) -> dict[str, torch.Tensor]:
    modules = ("unet", "vae", "text_encoder", "text_encoder_2")
    return {f"{name}.{key}": value.clone() for name in modules for key, value in getattr(parts, name).state_dict().items()}


def train(parts: Any, embedding: LearnedEmbedding, spec: TrainingSpec, num_steps: int) -> list[float]:
    """Pull the prompt's embeddings towards fixed ones: a loss whose gradient goes through both encoders and the UNet."""
    optimizer = AdapterOptimizer(spec, embedding.parameters, parts.device)
    conditioner, losses = LiveConditioner(parts), []
    draw = torch.Generator().manual_seed(1)
    noisy, wanted = torch.randn(2, 4, 16, 16, generator=draw), torch.randn(2, 4, 16, 16, generator=draw)
    for _ in range(num_steps):
        found = conditioner.encode([spec.instance_prompt] * 2)
        added = {"text_embeds": found.pooled_prompt_embeds, "time_ids": torch.full((2, 6), 32.0)}
        prediction = parts.unet(noisy, torch.tensor([5, 900]), found.prompt_embeds, added_cond_kwargs=added)[0]
        loss = (prediction - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(1.0)
        losses.append(float(loss.detach()))
    return losses


def test_it_begins_as_the_initializer_s_words_over_and_over(parts: Any) -> None:
    ids = parts.tokenizer("low quality", add_special_tokens=False).input_ids
    assert len(ids) == 2
    with attached_embedding(parts, INVERSION) as embedding:
        assert list(embedding.parameters) == ["text_encoder.<wrong>", "text_encoder_2.<wrong>"]
        assert embedding.num_parameters == 2 * 3 * 16
        for name, encoder in (("text_encoder.<wrong>", parts.text_encoder), ("text_encoder_2.<wrong>", parts.text_encoder_2)):
            rows = encoder.get_input_embeddings().weight[[ids[0], ids[1], ids[0]]]
            assert torch.equal(embedding.parameters[name], rows)
            assert embedding.parameters[name].dtype == torch.float32
        conditioner = LiveConditioner(parts)
        with torch.no_grad():
            learned, plain = conditioner.encode(["a <wrong> circle"]), conditioner.encode(["a low quality low circle"])
        assert torch.equal(learned.prompt_embeds, plain.prompt_embeds)


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_training_moves_the_vectors_alone_and_all_is_as_before(gradient_checkpointing: bool) -> None:
    parts = make_parts()
    spec = msgspec.structs.replace(INVERSION, gradient_checkpointing=gradient_checkpointing)
    before, tokenizers = state(parts), (parts.tokenizer, parts.tokenizer_2)
    lengths = [len(tokenizer) for tokenizer in tokenizers]
    with contextlib.suppress(ZeroDivisionError), attached_embedding(parts, spec) as embedding:
        first = embedding.weights()["text_encoder.<wrong>"].clone()
        losses = train(parts, embedding, spec, 6)
        assert losses[-1] < losses[0]
        assert parts.unet.is_gradient_checkpointing == gradient_checkpointing
        for name in embedding.parameters:
            assert bool(embedding.parameters[name].grad.any(dim=1).all()), "every vector learns"  # type: ignore[union-attr]
        assert not torch.equal(embedding.parameters["text_encoder.<wrong>"], first)
        raise ZeroDivisionError
    after = state(parts)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert (parts.tokenizer, parts.tokenizer_2) == tokenizers
    assert [len(tokenizer) for tokenizer in tokenizers] == lengths
    assert "<wrong>" not in parts.tokenizer.get_vocab()
    assert not parts.unet.training
    assert not parts.unet.is_gradient_checkpointing
    for encoder in (parts.text_encoder, parts.text_encoder_2):
        assert not encoder.get_input_embeddings()._forward_hooks
        assert not encoder.get_input_embeddings()._forward_pre_hooks


def test_the_same_training_twice_gives_the_same_bits_and_checkpointing_changes_none(parts: Any) -> None:
    found = []
    for gradient_checkpointing in (False, False, True):
        spec = msgspec.structs.replace(INVERSION, gradient_checkpointing=gradient_checkpointing)
        with attached_embedding(parts, spec) as embedding:
            train(parts, embedding, spec, 3)
            found.append(to_file(embedding.weights()))
    assert len(set(found)) == 1


def test_off_the_word_means_what_it_meant_at_first(parts: Any) -> None:
    with attached_embedding(parts, INVERSION) as embedding, torch.no_grad():
        conditioner = LiveConditioner(parts)
        first = conditioner.encode(["<wrong>"])
        for parameter in embedding.parameters.values():
            parameter += 1
        moved = conditioner.encode(["<wrong>"])
        with embedding.off():
            assert torch.equal(conditioner.encode(["<wrong>"]).prompt_embeds, first.prompt_embeds)
        assert torch.equal(conditioner.encode(["<wrong>"]).prompt_embeds, moved.prompt_embeds)
        assert not torch.equal(moved.prompt_embeds, first.prompt_embeds)
        assert not torch.equal(moved.pooled_prompt_embeds, first.pooled_prompt_embeds)


def test_diffusers_loads_the_file_with_two_calls_to_the_same_embeddings(tmp_path: Path) -> None:
    parts = make_parts()
    with attached_embedding(parts, INVERSION) as embedding:
        train(parts, embedding, INVERSION, 3)
        with torch.no_grad():
            ours = LiveConditioner(parts).encode(["a <wrong> circle"])
        path = tmp_path / "learned_embeds.safetensors"
        path.write_bytes(to_file(embedding.weights(), {"negtui.fingerprint": "f"}))
    check_embedding_file(path)
    assert placeholder_token(path) == "<wrong>"
    found = load_file(path)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {"clip_l": (3, 16), "clip_g": (3, 16)}
    pipeline = stock_pipeline(parts)
    pipeline.load_textual_inversion(found["clip_l"], token="<wrong>", text_encoder=pipeline.text_encoder, tokenizer=pipeline.tokenizer)
    pipeline.load_textual_inversion(found["clip_g"], token="<wrong>", text_encoder=pipeline.text_encoder_2, tokenizer=pipeline.tokenizer_2)
    with torch.no_grad():
        theirs = pipeline.encode_prompt("a <wrong> circle", do_classifier_free_guidance=False)
    assert torch.equal(ours.prompt_embeds, theirs[0])
    assert torch.equal(ours.pooled_prompt_embeds, theirs[2])


def test_a_file_read_back_starts_another_training_under_any_token(parts: Any, tmp_path: Path) -> None:
    with attached_embedding(parts, INVERSION) as embedding:
        train(parts, embedding, INVERSION, 2)
        saved = to_file(embedding.weights())
        learned = {name: weight.clone() for name, weight in embedding.weights().items()}
    other = msgspec.structs.replace(INVERSION, placeholder_token="<other>", init_adapter="wrong-ti")
    with attached_embedding(parts, other, from_file(saved, "<other>")) as embedding:
        assert torch.equal(embedding.parameters["text_encoder_2.<other>"], learned["text_encoder_2.<wrong>"])
        with embedding.off():
            assert not torch.equal(embedding.current("text_encoder.<other>"), learned["text_encoder.<wrong>"])
    path = tmp_path / "one.safetensors"
    path.write_bytes(saved)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", PLACEHOLDER_KEY: "<wrong>"}


def test_what_does_not_fit_is_refused_in_words(parts: Any) -> None:
    tokenizer = parts.tokenizer
    cases = [
        ({"init_adapter": "old"}, {"text_encoder.<wrong>": torch.zeros(2, 16)}, "incompatible", "embedding 'old', which has text_encoder"),
        ({"placeholder_token": "<|startoftext|>"}, None, "invalid", "is a token of this model"),
        ({"initializer_token": "  "}, None, "invalid", "is no word of the tokenizer"),
    ]
    for changes, init, code, words in cases:
        with pytest.raises(NegError, match=words) as caught:
            attached_embedding(parts, msgspec.structs.replace(INVERSION, **changes), init).__enter__()
        assert caught.value.detail.code == code
    assert parts.tokenizer is tokenizer


def test_weights_of_another_embedding_are_not_taken(parts: Any) -> None:
    with attached_embedding(parts, INVERSION) as embedding:
        weights = {name: weight.clone() + 1 for name, weight in embedding.weights().items()}
        embedding.load(weights)
        assert torch.equal(embedding.parameters["text_encoder.<wrong>"], weights["text_encoder.<wrong>"])
        with pytest.raises(ValueError, match="another"):
            embedding.load({"text_encoder.<wrong>": weights["text_encoder.<wrong>"]})


def test_half_precision_models_are_taught_in_float32() -> None:
    parts = make_parts(dtype="bfloat16")
    with attached_embedding(parts, INVERSION) as embedding:
        found = LiveConditioner(parts).encode(["<wrong>"])
        assert found.prompt_embeds.dtype == torch.bfloat16
        found.prompt_embeds.float().sum().backward()
        for parameter in embedding.parameters.values():
            assert parameter.dtype == torch.float32
            assert parameter.grad is not None
            assert parameter.grad.dtype == torch.float32
