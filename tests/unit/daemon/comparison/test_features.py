"""Features tell pictures apart by layout, outlines and colours, and by nothing else."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from daemon.comparison.features import GRID, MAX_PIXELS, NUM_BINS, distance_sums, features


def scene(place: int = 8, colour: str = "red", ground: str = "white", size: int = 64) -> Image.Image:
    picture = Image.new("RGB", (size, size), ground)
    ImageDraw.Draw(picture).rectangle((place, place, place + size // 3, place + size // 3), fill=colour)
    return picture


def apart(one: Image.Image, other: Image.Image) -> float:
    return float(distance_sums(np.stack([features(one), features(other)]))[0])


def test_it_is_one_vector_of_fixed_length() -> None:
    assert features(scene()).shape == (GRID * GRID * (NUM_BINS + 3),)
    assert features(Image.new("RGB", (1, 1))).shape == features(scene(size=300)).shape


def test_equal_pictures_are_nowhere_apart() -> None:
    assert apart(scene(), scene()) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("rows", [1, 3, 1024])
def test_sums_are_over_all_others_however_many_rows_are_taken_at_a_time(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.comparison.features._ROWS", rows)
    points = np.random.default_rng(0).normal(size=(7, 3))
    expected = [sum(float(np.linalg.norm(one - other)) for other in points) for one in points]
    assert distance_sums(points) == pytest.approx(expected)


def test_more_difference_is_more_distance() -> None:
    moved, recoloured = apart(scene(), scene(24)), apart(scene(), scene(colour="blue"))
    both = apart(scene(), scene(24, "blue", "green"))
    assert 0 < recoloured < both < 1
    assert 0 < moved < both


def test_black_and_white_are_apart_by_colour_alone() -> None:
    # luma -1 against 1, no opponent colours, no outlines: sqrt(4 / 12 / 2)
    assert apart(Image.new("RGB", (16, 16), "black"), Image.new("RGB", (16, 16), "white")) == pytest.approx(np.sqrt(1 / 6))


def test_size_does_not_matter_much() -> None:
    large = scene(size=64).resize((4 * MAX_PIXELS, 4 * MAX_PIXELS), Image.Resampling.NEAREST)
    assert apart(scene(), large) < 0.25 * apart(scene(), scene(24))
