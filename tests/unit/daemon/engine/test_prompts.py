from __future__ import annotations

from typing import Any

import pytest

from daemon.engine.models import LocalEngine
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ModelSpec

LONG = "two small green squares on a white background, " * 20


@pytest.fixture(scope="module")
def pipelines(model: ModelSpec) -> tuple[Any, Any]:
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    return tuple(
        kind.from_pretrained(path, torch_dtype=torch.float32, add_watermarker=False)
        for kind, path in ((StableDiffusionXLPipeline, model.base), (StableDiffusionXLImg2ImgPipeline, model.refiner))
    )  # type: ignore[return-value]


PROMPTS = ["a red circle on a blue background", "", "two stars, high quality. It's clean!", "a well-known cat - in 1995"]


@pytest.mark.parametrize("negative", [None, "", "wrong", "low quality, blurry"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_unweighted_prompts_are_those_of_the_pipelines(
    engine: LocalEngine, pipelines: tuple[Any, Any], prompt: str, negative: str | None
) -> None:
    import torch

    from daemon.engine.prompts import encode_for_base, encode_for_refiner

    for pipeline, encode in zip(pipelines, (encode_for_base, encode_for_refiner), strict=True):
        with torch.no_grad():
            expected = pipeline.encode_prompt(prompt, negative_prompt=negative, do_classifier_free_guidance=True)
        found = encode(pipeline.components, prompt, negative, pipeline.config.force_zeros_for_empty_prompt)
        for name, ours, theirs in zip(("positive", "negative", "pooled", "negative pooled"), _tensors(found), expected, strict=True):
            assert torch.equal(ours, theirs), name


def test_a_weight_changes_the_embedding_and_nothing_of_the_pooled_words(pipelines: tuple[Any, Any]) -> None:
    import torch

    from daemon.engine.prompts import encode_for_base

    parts = pipelines[0].components
    plain = encode_for_base(parts, "a blurry circle", None, True)
    up = encode_for_base(parts, "a (blurry)++++ circle", None, True)
    number = encode_for_base(parts, "a (blurry)1.4641 circle", None, True)
    down = encode_for_base(parts, "a (blurry)0.5 circle", None, True)
    assert not torch.equal(plain.prompt_embeds_1LD, up.prompt_embeds_1LD)
    assert not torch.equal(plain.prompt_embeds_1LD, down.prompt_embeds_1LD)
    torch.testing.assert_close(up.prompt_embeds_1LD, number.prompt_embeds_1LD)


@pytest.mark.parametrize(("prompt", "negative"), [(LONG, "wrong"), ("a circle", LONG), (LONG, None)])
def test_long_prompts_are_padded_to_one_length(pipelines: tuple[Any, Any], prompt: str, negative: str | None) -> None:
    from daemon.engine.prompts import encode_for_base, encode_for_refiner

    for pipeline, encode in zip(pipelines, (encode_for_base, encode_for_refiner), strict=True):
        found = encode(pipeline.components, prompt, negative, pipeline.config.force_zeros_for_empty_prompt)
        assert found.prompt_embeds_1LD.shape == found.negative_prompt_embeds_1LD.shape
        assert found.prompt_embeds_1LD.shape[1] > 77
        assert found.prompt_embeds_1LD.shape[1] % 77 == 0


def test_no_negative_prompt_is_zeros_on_the_base_and_the_empty_string_on_the_refiner(pipelines: tuple[Any, Any]) -> None:
    import torch

    from daemon.engine.prompts import encode_for_base, encode_for_refiner

    base = encode_for_base(pipelines[0].components, "a circle", None, True)
    assert not base.negative_prompt_embeds_1LD.any()
    assert not base.negative_pooled_prompt_embeds_1P.any()
    none, empty = (encode_for_refiner(pipelines[1].components, "a circle", negative) for negative in (None, ""))
    assert none.negative_prompt_embeds_1LD.any()
    assert torch.equal(none.negative_prompt_embeds_1LD, empty.negative_prompt_embeds_1LD)


def test_foreign_weights_are_refused(pipelines: tuple[Any, Any]) -> None:
    from daemon.engine.prompts import encode_for_base

    with pytest.raises(NegError):
        encode_for_base(pipelines[0].components, "a circle", "(blurry:1.5)", True)


def test_a_weight_that_compel_swallows_is_refused_even_where_the_checker_sees_none(pipelines: tuple[Any, Any]) -> None:
    from daemon.engine.prompts import encode_for_base
    from daemon.prompts.weighting import check_weighting

    prompt = "ab. 3.5 ((-(it's) C co+op)1.4 a)1.4"
    assert check_weighting(prompt) is None
    with pytest.raises(NegError, match="as plain words"):
        encode_for_base(pipelines[0].components, prompt, None, True)


def _tensors(found: Any) -> tuple[Any, ...]:
    return (
        found.prompt_embeds_1LD,
        found.negative_prompt_embeds_1LD,
        found.pooled_prompt_embeds_1P,
        found.negative_pooled_prompt_embeds_1P,
    )
