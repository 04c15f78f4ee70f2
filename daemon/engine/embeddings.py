"""Learned embeddings (textual inversion): tokens that stand for vectors of their own while prompts are encoded.

Nothing shared is resized or relabelled: the tokenizer that knows the tokens is a copy, the encoder's lookup is lent for a while.
Knows nothing of adapters, pictures or how the vectors were learned.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.loaders import TextualInversionLoaderMixin
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from daemon.models.embedding_files import CLIP_G, CLIP_L, check_embedding_file
from daemon.protocol.errors import NegError
from daemon.protocol.specs import EmbeddingRequest

MAX_REMEMBERED = 64
MAX_TOKENIZERS = 4
"""Copies of one tokenizer: SDXL's vocabulary takes a moment to copy, and megabytes."""

_ENCODERS = (("tokenizer", "text_encoder", CLIP_L), ("tokenizer_2", "text_encoder_2", CLIP_G))


class PlaceholderTokenizer:
    """A copy of a CLIP tokenizer in which each placeholder token becomes as many tokens as it has vectors.

    `<wrong>` of three vectors is read as `<wrong> <wrong>_1 <wrong>_2`, as diffusers' pipelines do
    (`loaders/textual_inversion.py`, `maybe_convert_prompt`); who does that himself finds nothing left to do.
    Raises `NegError` `invalid` for a token the tokenizer knows already.
    """

    def __init__(self, tokenizer: Any, num_vectors: Mapping[str, int]) -> None:
        self.first_id = len(tokenizer)
        """The id of the first vector of the first placeholder; the others follow in order."""
        known = {token.lower() for token in tokenizer.get_vocab()}
        for token in num_vectors:
            if token.lower() in known:
                raise NegError("invalid", f"{token} is a token of this model's tokenizer.", "Choose another placeholder_token.")
        self.added_tokens_encoder = dict(tokenizer.added_tokens_encoder)
        self._tokenizer = copy.deepcopy(tokenizer)
        self._tokenizer.add_tokens([name for token, number in num_vectors.items() for name in vector_tokens(token, number)])
        self._expand = TextualInversionLoaderMixin().maybe_convert_prompt

    def __call__(self, text: Any, *arguments: Any, **options: Any) -> Any:
        return self._tokenizer(self._expand(text, self._tokenizer), *arguments, **options)

    def __getattr__(self, name: str) -> Any:
        if name == "_tokenizer":
            raise AttributeError(name)
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)


def vector_tokens(token: str, num_vectors: int) -> list[str]:
    """The tokens of a placeholder's vectors, spelt as diffusers does."""
    return [token, *(f"{token}_{number}" for number in range(1, num_vectors))]


@contextmanager
def looked_up(text_encoder: Any, first_id: int, vectors: Callable[[], Tensor]) -> Iterator[None]:
    """While it lasts, `text_encoder` embeds the ids `first_id + k` as `vectors()[k]`, a (K, dim) float tensor; afterwards it is as before.

    Differentiable in the vectors. All other ids embed as ever, and nothing of the encoder's weights is touched.
    """
    embedding = text_encoder.get_input_embeddings()
    asked: list[Tensor] = []

    def keep_ids(module: Any, arguments: tuple[Tensor]) -> tuple[Tensor]:
        asked.append(arguments[0])
        return (arguments[0].clamp(max=first_id - 1),)

    def put_vectors(module: Any, arguments: Any, known_BTD: Tensor) -> Tensor:
        ids_BT, vectors_KD = asked.pop(), vectors()
        rows_BTD = F.embedding((ids_BT - first_id).clamp(min=0), vectors_KD.to(known_BTD.dtype))
        return torch.where((ids_BT >= first_id)[..., None], rows_BTD, known_BTD)

    with ExitStack() as stack:
        for register, hook in ((embedding.register_forward_pre_hook, keep_ids), (embedding.register_forward_hook, put_vectors)):
            stack.callback(register(hook).remove)
        yield


class EmbeddingShelf:
    """Which files of learned embeddings are known, and their vectors by the sha256 of the file."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._read: dict[str, dict[str, Tensor]] = {}
        self._tokenizers: weakref.WeakKeyDictionary[Any, dict[tuple[tuple[str, int], ...], PlaceholderTokenizer]]
        self._tokenizers = weakref.WeakKeyDictionary()

    @contextmanager
    def lent(self, parts: Mapping[str, Any], wanted: Sequence[EmbeddingRequest]) -> Iterator[dict[str, Any]]:
        """`parts` with tokenizers that know the wanted placeholder tokens, and encoders that embed them, while it lasts.

        A refiner has the second encoder alone, which takes the `clip_g` vectors. Raises `NegError`: a file that is unknown,
        changed or does not fit, a token that the tokenizer knows already.
        """
        lent = dict(parts)
        with ExitStack() as stack:
            for tokenizer, encoder, key in _ENCODERS if wanted else ():
                if parts.get(encoder) is None:
                    continue
                vectors = {one.placeholder_token: self._fitting(one.sha256, key, parts[encoder]) for one in wanted}
                lent[tokenizer] = self._tokenizer(parts[tokenizer], {token: len(rows) for token, rows in vectors.items()})
                rows = functools.partial(torch.cat, list(vectors.values()))
                stack.enter_context(looked_up(parts[encoder], lent[tokenizer].first_id, rows))
            yield lent

    def _tokenizer(self, tokenizer: Any, num_vectors: dict[str, int]) -> PlaceholderTokenizer:
        copies = self._tokenizers.setdefault(tokenizer, {})
        key = tuple(num_vectors.items())
        if key not in copies:
            if len(copies) >= MAX_TOKENIZERS:
                copies.clear()
            copies[key] = PlaceholderTokenizer(tokenizer, num_vectors)
        return copies[key]

    def _fitting(self, sha256: str, key: str, text_encoder: Any) -> Tensor:
        vectors_KD, dim = self._vectors(sha256)[key], text_encoder.get_input_embeddings().embedding_dim
        if vectors_KD.shape[1] != dim:
            raise NegError(
                "incompatible",
                f"{self._paths[sha256]} does not fit this model: its {key} vectors are {vectors_KD.shape[1]} long, not {dim}.",
                "Use it with the model it was trained on.",
            )
        return vectors_KD.to(text_encoder.device)

    def _vectors(self, sha256: str) -> dict[str, Tensor]:
        if sha256 not in self._read:
            path = self._paths.get(sha256)
            if path is None or not path.is_file():
                raise NegError("not_found", f"The embedding {sha256[:12]} is not known here.", "Train it again, or put its file back.")
            if len(self._read) >= MAX_REMEMBERED:
                self._read.clear()
            self._read[sha256] = _read_vectors(path, sha256)
        return self._read[sha256]


def _read_vectors(path: Path, sha256: str) -> dict[str, Tensor]:
    """clip_l and clip_g, each (num_vectors, dim) float32."""
    check_embedding_file(path)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NegError("corrupt", f"{path} has changed since the job began.", "Put the file back, or submit the job again.")
    try:
        found = load(content)
    except SafetensorError as error:
        raise NegError("corrupt", f"{path} cannot be read: {error}."[:500], "Download or export it again.") from error
    vectors = {key: found[key].float().reshape(-1, found[key].shape[-1]) for key in (CLIP_L, CLIP_G)}
    if not all(bool(torch.isfinite(rows).all()) for rows in vectors.values()):
        raise NegError("corrupt", f"{path} holds numbers that are not finite.", "Train the embedding again.")
    return vectors
