"""The plan of bad pictures: the seed's 78, every prompt with all keywords and one of them up-weighted."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from painting import IDENTITY

from daemon.pictures import image_id
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SynthesisSpec
from daemon.synthesis.plan import WRONG_KEYWORDS, plan, synthesis_prompt, weight_suffix

words = st.text("abcd wxyz", max_size=8).map(lambda text: f"k{text}k")
numbers = st.floats(0, 999, allow_nan=False)
weights = st.one_of(st.integers(1, 8).map(lambda n: "+" * n), st.integers(1, 8).map(lambda n: "-" * n), numbers)


def test_the_default_is_the_seed_s_78_pictures() -> None:
    planned = plan(SynthesisSpec(keywords=WRONG_KEYWORDS), IDENTITY)
    assert len(planned) == 78
    assert len({image_id(image.request) for image in planned}) == 78
    assert planned[0].request.prompt == (
        "(low quality)++++, bad hands, random text, error, missing or extra fingers, cropped, jpeg artifacts, "
        "signature, watermark, blurry, ugly, duplicate, mutilated"
    )
    assert [image.guidance_scale for image in planned[:7]] == [8, 9, 10, 11, 12, 13, 8]
    assert planned[-1].request.prompt.endswith("duplicate, (mutilated)++++")
    first = planned[0].request
    assert (first.num_inference_steps, first.width, first.height, first.denoising_split) == (50, 1024, 1024, 0.8)
    assert (first.negative_prompt, first.adapters, first.seed) == (None, (), 0)


@given(keywords=st.lists(words, min_size=1, max_size=6, unique=True), weight=weights, data=st.data())
def test_a_prompt_holds_every_keyword_in_order_and_wraps_one(keywords: list[str], weight: str | float, data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(keywords))
    parts = synthesis_prompt(tuple(keywords), chosen, weight).split(", ")
    wrapped = [index for index, part in enumerate(parts) if part.startswith("(")]
    assert wrapped == [keywords.index(chosen)]
    assert [re.sub(r"\((.*)\).*", r"\1", part) for part in parts] == keywords
    assert parts[wrapped[0]] == f"({chosen}){weight_suffix(weight)}"


@given(number=numbers)
def test_a_number_is_written_as_compel_reads_it(number: float) -> None:
    suffix = weight_suffix(number)
    assert re.fullmatch(r"\d+\.\d+", suffix)
    assert float(suffix) == pytest.approx(number, abs=1e-6)


@pytest.mark.parametrize(("weight", "suffix"), [(1.4, "1.4"), (2, "2.0"), ("1.4", "1.4"), ("++++", "++++"), (" -- ", "--"), (0.0, "0.0")])
def test_weights_are_rendered(weight: str | float, suffix: str) -> None:
    assert weight_suffix(weight) == suffix


@pytest.mark.parametrize("weight", ["", "heavy", "+-", "1,4", ":1.4", -1.0, 1e9, float("inf"), float("nan")])
def test_what_compel_would_take_for_text_is_refused(weight: str | float) -> None:
    with pytest.raises(NegError, match=r"synthesis\.weights"):
        weight_suffix(weight)


@given(
    keywords=st.lists(words, min_size=1, max_size=5, unique=True),
    chosen_weights=st.lists(weights, min_size=1, max_size=3, unique_by=weight_suffix),
    guidance_scales=st.lists(st.integers(1, 20), min_size=1, max_size=3, unique=True),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3, unique=True),
)
def test_a_plan_is_the_product_of_its_axes_and_always_the_same(
    keywords: list[str], chosen_weights: list[str | float], guidance_scales: list[int], seeds: list[int]
) -> None:
    spec = SynthesisSpec(
        keywords=tuple(keywords), weights=tuple(chosen_weights), guidance_scales=tuple(guidance_scales), seeds=tuple(seeds)
    )
    planned = plan(spec, IDENTITY)
    assert len(planned) == len(keywords) * len(chosen_weights) * len(guidance_scales) * len(seeds)
    assert len({image_id(image.request) for image in planned}) == len(planned)
    assert plan(spec, IDENTITY) == planned
    for image in planned:
        assert (image.request.seed, image.request.guidance_scale) == (image.seed, image.guidance_scale)
        assert image.request.prompt == synthesis_prompt(spec.keywords, image.keyword, image.weight)


def test_what_is_asked_for_twice_is_planned_once() -> None:
    spec = SynthesisSpec(keywords=("blurry", "ugly", "blurry"), seeds=(1, 1), guidance_scales=(8, 8.0))
    assert len(plan(spec, IDENTITY)) == 2
