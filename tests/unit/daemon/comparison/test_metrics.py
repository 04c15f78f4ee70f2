"""The plain figures, against pictures whose figures are known."""

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageFilter

from daemon.comparison.metrics import METRICS, colourfulness, edge_density, laplacian_variance, mean_saturation, measure


def noise(seed: int = 0, size: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def test_a_flat_grey_picture_has_nothing() -> None:
    assert set(measure(Image.new("RGB", (16, 16), (128, 128, 128))).values()) == {0.0}


def test_every_figure_is_described_and_finite() -> None:
    figures = measure(noise())
    assert set(figures) == set(METRICS) - {"flaw_probability", "adherence"}
    assert all(np.isfinite(value) and value > 0 for value in figures.values())


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 8)])
def test_the_smallest_pictures_are_measured(size: tuple[int, int]) -> None:
    assert all(np.isfinite(value) for value in measure(Image.new("RGB", size, (200, 10, 30))).values())


def test_laplacian_variance_of_one_bright_pixel() -> None:
    luma = np.zeros((5, 5))
    luma[2, 2] = 1.0
    assert laplacian_variance(luma) == pytest.approx(np.array([-4.0, 1, 1, 1, 1, 0, 0, 0, 0]).var())


def test_blur_lowers_sharpness_and_edges() -> None:
    sharp, blurred = measure(noise()), measure(noise().filter(ImageFilter.GaussianBlur(2)))
    assert blurred["sharpness"] < 0.05 * sharp["sharpness"]
    assert blurred["edge_density"] < sharp["edge_density"]


def test_contrast_of_black_beside_white_is_a_half() -> None:
    picture = Image.new("RGB", (16, 16), "white")
    picture.paste("black", (0, 0, 8, 16))
    assert measure(picture)["contrast"] == pytest.approx(0.5)


def test_saturation_is_hsv_s() -> None:
    picture = noise(3)
    expected = np.mean(
        [colorsys.rgb_to_hsv(*(channel / 255 for channel in pixel))[1] for row in np.asarray(picture).tolist() for pixel in row]
    )
    assert mean_saturation(np.asarray(picture, np.float64).transpose(2, 0, 1)) == pytest.approx(expected)


def test_colourfulness_of_pure_red_is_by_hand() -> None:
    red = np.zeros((3, 4, 4))
    red[0] = 255
    assert colourfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))


def test_edges_are_counted_at_a_step() -> None:
    luma = np.zeros((10, 10))
    luma[:, 5:] = 255
    assert edge_density(luma) == pytest.approx(2 / 8)
    assert edge_density(luma * 0.1) == 0


def test_grey_and_palette_pictures_are_measured_as_rgb() -> None:
    grey = noise().convert("L")
    assert measure(grey) == measure(grey.convert("RGB"))
