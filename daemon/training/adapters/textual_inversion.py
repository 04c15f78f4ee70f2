"""Textual inversion (Gal et al., 2022) for SDXL: vectors for one placeholder token in both text encoders, and nothing else, are trained.

Offers what `attach.py` offers for LoRA. Knows nothing of losses, optimizers or sessions.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from daemon.adapters import tensors
from daemon.engine.embeddings import PlaceholderTokenizer, looked_up
from daemon.models.embedding_files import CLIP_G, CLIP_L, PLACEHOLDER_KEY
from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.attach import copy_into

_ENCODERS = {"text_encoder": ("tokenizer", CLIP_L), "text_encoder_2": ("tokenizer_2", CLIP_G)}


class LearnedEmbedding:
    """The vectors in training. `parameters`: `text_encoder.<token>` and `text_encoder_2.<token>`, each (num_vectors, dim) float32."""

    def __init__(self, token: str, initial: Mapping[str, Tensor]) -> None:
        self._initial = {f"{encoder}.{token}": vectors_KD.detach().float().clone() for encoder, vectors_KD in sorted(initial.items())}
        self.parameters = {name: nn.Parameter(vectors_KD.clone()) for name, vectors_KD in self._initial.items()}
        self._is_off = False

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """While it lasts, the placeholder means what it meant before the first step: the initializer's vectors."""
        before, self._is_off = self._is_off, True
        try:
            yield
        finally:
            self._is_off = before

    def current(self, name: str) -> Tensor:
        """The vectors that the encoder of this parameter sees now."""
        return self._initial[name] if self._is_off else self.parameters[name]

    def weights(self) -> dict[str, Tensor]:
        """The vectors by name, detached."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Overwrite the vectors; raises `ValueError` where names or shapes differ."""
        copy_into(self.parameters, weights)


@contextlib.contextmanager
def attached_embedding(parts: Any, spec: TrainingSpec, init: Mapping[str, Tensor] | None = None) -> Iterator[LearnedEmbedding]:
    """Make `spec.placeholder_token` a word of both text encoders and lend its vectors: the initializer's, or those of `init`.

    Meanwhile `parts`, a namespace of the caller's own, has tokenizers that know the word. Afterwards parts, tokenizers, encoders and UNet
    are as they were, whatever was raised. Raises `NegError`: `invalid` where the word is one of the tokenizer's own or the initializer is
    none of its words, `incompatible` where `init` has other vectors than the spec.
    """
    token, num_vectors = spec.placeholder_token, spec.num_vectors
    initial = {
        encoder: _initial_vectors(getattr(parts, name), getattr(parts, encoder), spec.initializer_token, num_vectors)
        for encoder, (name, _) in _ENCODERS.items()
    }
    embedding = LearnedEmbedding(token, initial)
    if init is not None:
        _start_from(embedding, init, spec)
    with contextlib.ExitStack() as stack:
        for module in (parts.unet, parts.text_encoder, parts.text_encoder_2):
            stack.enter_context(_frozen(module))
        if spec.gradient_checkpointing:
            stack.enter_context(_checkpointed(parts.unet))
        for encoder, (name, _) in _ENCODERS.items():
            tokenizer = PlaceholderTokenizer(getattr(parts, name), {token: num_vectors})
            stack.callback(setattr, parts, name, getattr(parts, name))
            setattr(parts, name, tokenizer)
            current = functools.partial(embedding.current, f"{encoder}.{token}")
            stack.enter_context(looked_up(getattr(parts, encoder), tokenizer.first_id, current))
        yield embedding


def to_file(weights: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> bytes:
    """`learned_embeds.safetensors`: float32 `clip_l` and `clip_g`, each (num_vectors, dim), the placeholder token in its header.

    diffusers loads each of them by `load_textual_inversion(state[key], token=..., text_encoder=..., tokenizer=...)`.
    """
    (token,) = {name.partition(".")[2] for name in weights}
    vectors = {key: weights[f"{encoder}.{token}"].float() for encoder, (_, key) in _ENCODERS.items()}
    return tensors.to_bytes(vectors, {"format": "pt", **(header or {}), PLACEHOLDER_KEY: token})


def from_file(content: bytes, token: str) -> dict[str, Tensor]:
    """Such a file's vectors by the names of `LearnedEmbedding.parameters`, for `token` whatever they were trained as.

    Raises `KeyError` or `safetensors.SafetensorError` where it is no such file.
    """
    found = tensors.from_bytes(content)
    return {f"{encoder}.{token}": found[key].float().reshape(-1, found[key].shape[-1]) for encoder, (_, key) in _ENCODERS.items()}


def _initial_vectors(tokenizer: Any, text_encoder: Any, word: str, num_vectors: int) -> Tensor:
    """The embeddings of the initializer's tokens, over and over: (num_vectors, dim) float32."""
    ids = tokenizer(word, add_special_tokens=False).input_ids
    if not ids:
        raise NegError("invalid", f"training.initializer_token {word!r} is no word of the tokenizer.", 'Take a plain word, e.g. "bad".')
    chosen = torch.tensor([ids[index % len(ids)] for index in range(num_vectors)], device=text_encoder.device)
    with torch.no_grad():
        return text_encoder.get_input_embeddings()(chosen).float()


def _start_from(embedding: LearnedEmbedding, init: Mapping[str, Tensor], spec: TrainingSpec) -> None:
    try:
        embedding.load(init)
    except ValueError:
        found = ", ".join(f"{name}: {tuple(vectors.shape)}" for name, vectors in sorted(init.items()))[:300]
        raise NegError(
            "incompatible",
            f"The training cannot start from the embedding {spec.init_adapter!r}, which has {found}.",
            "Give placeholder_token and num_vectors the values it was trained with, and the same model.",
        ) from None


@contextlib.contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """No weight of it is trained; gradients pass through."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextlib.contextmanager
def _checkpointed(unet: Any) -> Iterator[None]:
    """Gradient checkpointing, which diffusers has in training mode only; SDXL's UNet has no dropout that this would wake."""
    was_training = unet.training
    try:
        unet.train()
        unet.enable_gradient_checkpointing()
        yield
    finally:
        unet.disable_gradient_checkpointing()
        unet.train(was_training)
