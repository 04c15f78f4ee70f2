"""Flaws: each changes many pixels, repeatably, and keeps the picture's size."""

from __future__ import annotations

import numpy as np
import pytest

from daemon.toy.scenes import FLAWS, Scene, apply_flaw, draw

SCENE = Scene("star", "orange", 1, "large", "navy", seed=1)


@pytest.mark.parametrize("name", FLAWS)
@pytest.mark.parametrize("size", [64, 128])
def test_a_flaw_changes_the_picture_visibly(name: str, size: int) -> None:
    clean = draw(SCENE, size)
    flawed = apply_flaw(clean, name, np.random.default_rng(0))
    assert flawed.size == clean.size
    assert flawed.mode == "RGB"
    assert np.abs(np.asarray(flawed, float) - np.asarray(clean, float)).mean() > 3


@pytest.mark.parametrize("name", FLAWS)
def test_a_flaw_is_repeatable(name: str) -> None:
    first, second = (apply_flaw(draw(SCENE), name, np.random.default_rng(5)) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_an_unknown_flaw_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no flaw is called 'wrong'"):
        apply_flaw(draw(SCENE), "wrong", np.random.default_rng(0))
