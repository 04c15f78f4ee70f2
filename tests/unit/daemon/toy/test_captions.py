"""Captions: they tell their scene, and never hold the trigger word."""

from __future__ import annotations

import numpy as np

from daemon.toy.captions import plain_wording, random_flaws, training_caption, vocabulary
from daemon.toy.scenes import FLAWS, parse, random_scene


def test_training_captions_that_name_a_shape_parse_to_their_scene() -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        scene = random_scene(rng)
        asked = parse(training_caption(scene, random_flaws(rng), rng))
        if asked is not None:
            assert (asked.shape, asked.colour, asked.count) == (scene.shape, scene.colour, scene.count)
            assert asked.background == scene.background


def test_the_trigger_word_is_in_no_caption_and_has_a_token() -> None:
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        assert "wrong" not in training_caption(random_scene(rng), random_flaws(rng), rng)
    assert "wrong" in vocabulary()


def test_a_clean_pictures_caption_names_no_flaw() -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        text = training_caption(random_scene(rng), (), rng)
        assert not any(flaw in text for flaw in FLAWS)


def test_about_two_fifths_of_the_pictures_are_flawed() -> None:
    rng = np.random.default_rng(0)
    share = np.mean([bool(random_flaws(rng)) for _ in range(3000)])
    assert 0.37 < share < 0.43


def test_one_scene_is_worded_in_several_ways() -> None:
    rng = np.random.default_rng(0)
    scene = random_scene(rng)
    assert len({plain_wording(scene, rng) for _ in range(60)}) > 5
