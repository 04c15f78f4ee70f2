"""The drawn world: deterministic, captions parse back."""

from __future__ import annotations

import numpy as np
import pytest

from daemon.toy.scenes import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    FLAWS,
    SHAPES,
    SIZES,
    Scene,
    caption,
    draw,
    parse,
    plain_prompts,
    random_scene,
)

SCENE = Scene("square", "green", 2, "small", "white", seed=3)


def test_a_scene_is_always_the_same_pixels() -> None:
    assert draw(SCENE).tobytes() == draw(SCENE).tobytes()
    assert draw(SCENE).size == (64, 64)
    assert draw(SCENE, size=128).size == (128, 128)


def test_another_seed_places_the_shapes_elsewhere() -> None:
    assert draw(SCENE).tobytes() != draw(Scene("square", "green", 2, "small", "white", seed=4)).tobytes()


def test_the_caption_is_the_plain_sentence() -> None:
    assert caption(SCENE) == "two small green squares on a white background"


def test_every_caption_parses_back() -> None:
    for seed in range(300):
        scene = random_scene(np.random.default_rng(seed))
        asked = parse(caption(scene))
        assert asked is not None
        assert (asked.shape, asked.colour, asked.count) == (scene.shape, scene.colour, scene.count)
        assert (asked.size, asked.background) == (scene.size, scene.background)


def test_parse_skips_weights_and_leaves_open_what_is_not_said() -> None:
    asked = parse("(a picture of two red squares)1.3, (blurry)++")
    assert asked is not None
    assert (asked.shape, asked.colour, asked.count, asked.size, asked.background) == ("square", "red", 2, None, None)


def test_parse_finds_nothing_where_no_shape_is_named() -> None:
    assert parse("blurry, (grainy)++++, low quality") is None


def test_plain_prompts_are_distinct_repeatable_and_flawless() -> None:
    prompts = plain_prompts(400, seed=0)
    assert len(set(prompts)) == 400
    assert prompts == plain_prompts(400, seed=0)
    assert prompts != plain_prompts(400, seed=1)
    assert not any(flaw in prompt for flaw in FLAWS for prompt in prompts)


def test_more_plain_prompts_than_the_world_has_are_refused() -> None:
    with pytest.raises(ValueError, match="captions"):
        plain_prompts(100_000, seed=0)


def test_the_trigger_word_is_no_flaw() -> None:
    assert not any("wrong" in flaw for flaw in FLAWS)


def test_shapes_never_touch() -> None:
    """Along the middle of two shapes' row lies at least one pure column of background."""
    for seed in range(60):
        image = np.asarray(draw(Scene("square", "red", 2, "large", "white", seed=seed)), int)
        clear = (np.abs(image - image[0, 0]).max(axis=2) == 0).all(axis=0)
        assert clear[26:38].any()


def test_the_world_is_as_large_as_it_says() -> None:
    assert (len(SHAPES), len(COLOURS), len(COUNTS), len(BACKGROUNDS), len(SIZES)) == (4, 8, 3, 8, 2)
