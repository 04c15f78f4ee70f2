"""Captions to what SDXL's UNet takes of them, with or without gradients. Knows nothing of images, steps or adapters.

Letters: B batch, L tokens, D cross_attention_dim, P projection_dim.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor

from daemon.adapters import tensors
from daemon.engine.base import ModelIdentity
from daemon.files import write_atomic
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.training_spec import TrainingSpec

FORMAT_VERSION = 1
MAX_RESIDENT_BYTES = 2**26


@dataclass(frozen=True)
class Conditioning:
    """The prompts of a batch: hidden states of both encoders side by side, and the second one's projection."""

    prompt_embeds: Tensor
    """(B, L, D)."""
    pooled_prompt_embeds: Tensor
    """(B, P)."""

    def repeat(self, batch_size: int) -> Conditioning:
        """The same prompts over and over: `batch_size` times as many rows."""
        return Conditioning(self.prompt_embeds.repeat(batch_size, 1, 1), self.pooled_prompt_embeds.repeat(batch_size, 1))

    def rows(self, indices: slice | list[int]) -> Conditioning:
        """Some rows of it."""
        return Conditioning(self.prompt_embeds[indices], self.pooled_prompt_embeds[indices])

    @staticmethod
    def cat(parts: Sequence[Conditioning]) -> Conditioning:
        """One below the other."""
        if len(parts) == 1:
            return parts[0]
        return Conditioning(torch.cat([part.prompt_embeds for part in parts]), torch.cat([part.pooled_prompt_embeds for part in parts]))


class Conditioner(Protocol):
    """Captions to `Conditioning`, on the model's device in its dtype."""

    def encode(self, captions: Sequence[str | None]) -> Conditioning:
        """A row for every caption; None is the pipeline's unconditional: zeros where the model says so, else the encoded empty string."""


class LiveConditioner:
    """Encodes at every call, so that gradients reach what is trained in the text encoders."""

    def __init__(self, parts: Any) -> None:
        self._parts = parts

    def encode(self, captions: Sequence[str | None]) -> Conditioning:
        """As `Conditioner`; a caption that comes twice is encoded once."""
        found = {caption: encode_caption(self._parts, caption) for caption in dict.fromkeys(captions)}
        return Conditioning.cat([found[caption] for caption in captions])


class CachedConditioner:
    """Encodes every caption once, below `folder` for ever: for encoders that stay as they are. Everything there may be deleted any time.

    Equal bit for bit to `LiveConditioner` without an adapter, on the same device. In memory are the last 64 MiB of captions.
    """

    def __init__(self, parts: Any, identity: ModelIdentity, folder: Path) -> None:
        self._parts, self._identity, self._folder = parts, identity, folder
        self._captions: OrderedDict[str | None, Conditioning] = OrderedDict()
        self._num_bytes = 0
        self._last: tuple[tuple[str | None, ...], Conditioning] | None = None

    def prepare(self, captions: Iterable[str | None], on_caption: Callable[[], None] = lambda: None) -> None:
        """Encode what is not on disk yet, so that the text encoders have nothing left to do; `on_caption` is called before each."""
        for caption in dict.fromkeys(captions):
            on_caption()
            self._one(caption)

    def encode(self, captions: Sequence[str | None]) -> Conditioning:
        """As `Conditioner`. The same captions as the last time, e.g. one instance prompt, are not put together again."""
        key = tuple(captions)
        if self._last is None or self._last[0] != key:
            self._last = (key, Conditioning.cat([self._one(caption) for caption in key]))
        return self._last[1]

    def _one(self, caption: str | None) -> Conditioning:
        if caption not in self._captions:
            self._keep(caption, self._read_or_encode(caption))
        self._captions.move_to_end(caption)
        return self._captions[caption]

    def _keep(self, caption: str | None, conditioning: Conditioning) -> None:
        self._captions[caption] = conditioning
        self._num_bytes += _num_bytes(conditioning)
        while self._num_bytes > MAX_RESIDENT_BYTES and len(self._captions) > 1:
            self._num_bytes -= _num_bytes(self._captions.popitem(last=False)[1])

    def _read_or_encode(self, caption: str | None) -> Conditioning:
        path = self._folder / f"{conditioning_key(caption, self._parts, self._identity)}.safetensors"
        found = _read(path)
        if found is None:
            with torch.no_grad():
                found = encode_caption(self._parts, caption)
            content = {"prompt_embeds": found.prompt_embeds, "pooled_prompt_embeds": found.pooled_prompt_embeds}
            write_atomic(path, tensors.to_bytes(content))
        device = self._parts.device
        return Conditioning(found.prompt_embeds.to(device), found.pooled_prompt_embeds.to(device))


def make_conditioner(spec: TrainingSpec, parts: Any, identity: ModelIdentity, folder: Path) -> CachedConditioner | LiveConditioner:
    """Live where something in the text encoders is trained, else cached below `folder`."""
    if spec.train_text_encoder or spec.method == "textual_inversion":
        return LiveConditioner(parts)
    return CachedConditioner(parts, identity, folder)


def conditioning_key(caption: str | None, parts: Any, identity: ModelIdentity) -> str:
    """Names embeddings by all that decides them: the words, the base model, its precision, the kind of device that computes them."""
    return canonical_sha256(
        {
            "format": FORMAT_VERSION,
            "caption": caption,
            "base": identity.base_sha256,
            "torch_dtype": identity.torch_dtype,
            "device": torch.device(parts.device).type,
            "zeros": bool(parts.force_zeros_for_empty_prompt),
        }
    )


def encode_caption(parts: Any, caption: str | None) -> Conditioning:
    """One caption, B = 1, as `StableDiffusionXLPipeline.encode_prompt` without weights; too long ones are cut at the encoders' length.

    Alone and without autocast, so that neither the other captions of a batch nor the caller's precision changes a bit of it.
    """
    if caption is None:
        empty = encode_caption(parts, "")
        if not parts.force_zeros_for_empty_prompt:
            return empty
        return Conditioning(torch.zeros_like(empty.prompt_embeds), torch.zeros_like(empty.pooled_prompt_embeds))
    hidden_states = []
    with torch.autocast(torch.device(parts.device).type, enabled=False):
        for tokenizer, text_encoder in ((parts.tokenizer, parts.text_encoder), (parts.tokenizer_2, parts.text_encoder_2)):
            tokens = tokenizer(caption, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt")
            output = text_encoder(tokens.input_ids.to(text_encoder.device), output_hidden_states=True)
            # The last hidden layer is left out, as SDXL was trained.
            hidden_states.append(output.hidden_states[-2])
    # The first output of the second encoder is its pooled projection.
    return Conditioning(torch.concat(hidden_states, dim=-1), output[0].view(1, -1))


def is_cut(parts: Any, caption: str) -> bool:
    """Whether a caption is longer than a text encoder reads."""
    tokenizers = (parts.tokenizer, parts.tokenizer_2)
    return any(len(tokenizer(caption, verbose=False).input_ids) > tokenizer.model_max_length for tokenizer in tokenizers)


def _num_bytes(conditioning: Conditioning) -> int:
    return conditioning.prompt_embeds.nbytes + conditioning.pooled_prompt_embeds.nbytes


def _read(path: Path) -> Conditioning | None:
    """Stored embeddings, or None where there are none that are whole."""
    try:
        found = tensors.from_bytes(path.read_bytes())
        return Conditioning(found["prompt_embeds"], found["pooled_prompt_embeds"])
    except (OSError, SafetensorError, KeyError):
        return None
