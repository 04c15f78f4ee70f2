import numpy as np
import pytest

from daemon.protocol.specs import ModelSpec
from daemon.toy.flaws import pixelated
from daemon.toy.scenes import caption, draw, random_scene
from daemon.training.monitoring.scoring import find_score


def test_only_the_toy_has_a_judge() -> None:
    assert find_score(ModelSpec(base="/somewhere/sdxl")) is None


def test_the_probe_tells_flaws_and_reads_the_prompt() -> None:
    score, rng = find_score(ModelSpec(base="toy")), np.random.default_rng(3)
    assert score is not None
    scenes = [random_scene(rng) for _ in range(8)]
    pictures = [draw(scene) for scene in scenes]
    prompts = [caption(scene) for scene in scenes]
    good, bad = score(pictures, prompts), score([pixelated(picture, rng) for picture in pictures], ["a wolf"] * 8)
    flaws = [np.mean([values["flaw_probability"] for values in found]) for found in (good, bad)]
    assert flaws[0] < flaws[1]
    assert np.mean([values["adherence"] for values in good]) > 0.5
    assert all("adherence" not in values for values in bad)
    assert score([], []) == pytest.approx([])
