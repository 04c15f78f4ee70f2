"""The training pictures: drawn from their number alone, kept once complete."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from daemon.toy.pictures import painted, read_pictures, write_pictures


def test_a_picture_depends_on_its_number_only(tmp_path: Path) -> None:
    write_pictures(tmp_path / "few", 2, seed=1)
    write_pictures(tmp_path / "more", 4, seed=1)
    few, more = read_pictures(tmp_path / "few"), read_pictures(tmp_path / "more")
    assert np.array_equal(few[0], more[0][:2])
    assert few[1] == more[1][:2]


def test_a_painted_picture_comes_with_its_story() -> None:
    pixels, scene, flaws, caption = painted(7, flawed_share=0.0)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert flaws == ()
    assert scene.colour in caption
