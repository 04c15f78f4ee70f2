"""Prompts to embeddings: compel's weighting for base and refiner, positive and negative padded to one length."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from compel import Compel, CompelForSDXL, ReturnedEmbeddingsType
from torch import Tensor

from daemon.engine.guidance import Branch
from daemon.prompts.weighting import check_weighting
from daemon.protocol.errors import NegError

_SWALLOWED = re.compile(r"(?<!\\)\)(?:[+-]|\d|\.\d)")


@dataclass(frozen=True)
class PromptEmbeddings:
    """What a UNet is told instead of words. L: 77 tokens, or a multiple for long prompts; D: cross_attention_dim; P: projection."""

    prompt_embeds_1LD: Tensor
    negative_prompt_embeds_1LD: Tensor
    pooled_prompt_embeds_1P: Tensor
    negative_pooled_prompt_embeds_1P: Tensor

    def of(self, branch: Branch) -> tuple[Tensor, Tensor]:
        """Embeddings (1, L, D) and pooled embeddings (1, P) of one branch of the guidance."""
        if branch == "positive":
            return self.prompt_embeds_1LD, self.pooled_prompt_embeds_1P
        return self.negative_prompt_embeds_1LD, self.negative_pooled_prompt_embeds_1P

    def beside(self, negative_prompt_embeds_1LD: Tensor, negative_pooled_prompt_embeds_1P: Tensor) -> PromptEmbeddings:
        """The same prompt with another negative one."""
        negative = {
            "negative_prompt_embeds_1LD": negative_prompt_embeds_1LD,
            "negative_pooled_prompt_embeds_1P": negative_pooled_prompt_embeds_1P,
        }
        return replace(self, **negative)


@torch.no_grad()
def encode_for_base(parts: dict[str, Any], prompt: str, negative_prompt: str | None, zeros_when_none: bool) -> PromptEmbeddings:
    """Both encoders side by side (Podell et al., 2023). No negative prompt is zeros where the model says so, else the encoded "".

    Equal bit for bit to `StableDiffusionXLPipeline.encode_prompt` for prompts without weights of at most 75 tokens.
    Raises `NegError` `invalid` for a weighting that compel would silently read as plain words.
    """
    _require_readable(prompt, negative_prompt)
    zeros = negative_prompt is None and zeros_when_none
    names = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
    compel = CompelForSDXL(SimpleNamespace(**{name: parts[name] for name in names}))
    for one in (compel.compel_1, compel.compel_2):
        one.parse_prompt_string = _parsed
    found = compel(prompt, negative_prompt=None if zeros else negative_prompt or "")
    if zeros:
        negative, negative_pooled = torch.zeros_like(found.embeds), torch.zeros_like(found.pooled_embeds)
    else:
        negative, negative_pooled = found.negative_embeds, found.negative_pooled_embeds
    return PromptEmbeddings(found.embeds, negative, found.pooled_embeds, negative_pooled)


@torch.no_grad()
def encode_for_refiner(parts: dict[str, Any], prompt: str, negative_prompt: str | None, zeros_when_none: bool = False) -> PromptEmbeddings:
    """The second encoder alone. No negative prompt is the encoded "", as the published refiner has it. Raises as `encode_for_base`."""
    _require_readable(prompt, negative_prompt)
    compel = Compel(
        tokenizer=parts["tokenizer_2"],
        text_encoder=parts["text_encoder_2"],
        returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
        requires_pooled=True,
        truncate_long_prompts=False,
    )
    compel.parse_prompt_string = _parsed
    zeros = negative_prompt is None and zeros_when_none
    # One call for both, so that long prompts come back equally long.
    embeds_NLD, pooled_NP = compel([prompt] if zeros else [prompt, negative_prompt or ""])
    positive, pooled = embeds_NLD[:1], pooled_NP[:1]
    negative, negative_pooled = (torch.zeros_like(positive), torch.zeros_like(pooled)) if zeros else (embeds_NLD[1:], pooled_NP[1:])
    return PromptEmbeddings(positive, negative, pooled, negative_pooled)


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """compel's reading of a prompt, once for the check and every encoder: it takes as long as the encoding."""
    return Compel.parse_prompt_string(text)


def _require_readable(prompt: str, negative_prompt: str | None) -> None:
    for text in (prompt, negative_prompt or ""):
        error = check_weighting(text)
        if error is not None:
            raise error
        try:
            conjunction = _parsed(text)
        except Exception as cause:
            raise NegError(
                "invalid", f"compel cannot read the prompt {text!r}: {cause}"[:600], "Escape brackets with a backslash."
            ) from cause
        _require_no_swallowed_weight(conjunction.prompts)


def _require_no_swallowed_weight(prompts: list[Any]) -> None:
    """The last net below `check_weighting`: what compel took for plain words may not look like a weight."""
    for prompt in prompts:
        for fragment in getattr(prompt, "children", None) or getattr(prompt, "prompts", None) or ():
            text = getattr(fragment, "text", "")
            if _SWALLOWED.search(text):
                raise NegError(
                    "invalid", f"compel reads {text!r} as plain words, weights included."[:600], "Simplify its brackets and signs."
                )
