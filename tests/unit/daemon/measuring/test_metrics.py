"""The plain figures, against pictures whose figures are known."""

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageFilter

from daemon.measuring.metrics import (
    METRICS,
    colourfulness,
    edge_density,
    laplacian_variance,
    mean_saturation,
    measure,
    median_tile_deviation,
    present,
    well_exposedness,
)


def noise(seed: int = 0, size: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def test_a_flat_grey_picture_has_nothing() -> None:
    found = measure(Image.new("RGB", (16, 16), (128, 128, 128)))
    assert {name: value for name, value in found.items() if value} == {"brightness": 128 / 255, "exposure": pytest.approx(1, abs=1e-3)}


def test_every_figure_is_described_and_finite() -> None:
    figures = measure(noise())
    assert set(figures) == {name for name, metric in METRICS.items() if not metric.scorer} - {"diversity"}
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


@pytest.mark.parametrize("gain", [0.4, 0.7])
def test_relative_figures_do_not_see_a_change_of_contrast(gain: float) -> None:
    luma = np.asarray(noise(2, 64).convert("L"), np.float64)
    plain, changed = (measure(Image.fromarray(np.round(found).astype(np.uint8))) for found in (luma, gain * luma + 40))
    for name in ("sharpness", "texture"):
        assert changed[name] < 0.8 * plain[name]
        assert changed[f"relative_{name}"] == pytest.approx(plain[f"relative_{name}"], rel=2e-2)  # rounded to 8 bits


def test_relative_figures_see_a_blur_that_keeps_contrast() -> None:
    blurred = np.asarray(noise(2, 64).convert("L").filter(ImageFilter.GaussianBlur(2)), np.float64)
    stretched = (blurred - blurred.mean()) / blurred.std() * 50 + 128
    sharp = np.asarray(noise(2, 64).convert("L"), np.float64)
    sharp = (sharp - sharp.mean()) / sharp.std() * 50 + 128
    one, other = (measure(Image.fromarray(found.clip(0, 255).astype(np.uint8))) for found in (stretched, sharp))
    assert one["contrast"] == pytest.approx(other["contrast"], rel=0.05)
    assert one["relative_sharpness"] < 0.2 * other["relative_sharpness"]


def test_texture_leaves_out_the_tiles_of_an_outline() -> None:
    luma = np.zeros((64, 64))
    luma[:, 30:] = 255
    assert median_tile_deviation(luma) == 0
    assert median_tile_deviation(luma[:4, 28:32]) == pytest.approx(127.5)
    grain = np.random.default_rng(0).normal(100, 8, (64, 64))
    assert median_tile_deviation(grain) == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize(("level", "expected"), [(127.5, 1.0), (0.0, np.exp(-3 * 0.25 / 0.08)), (255.0, np.exp(-3 * 0.25 / 0.08))])
def test_exposure_is_best_in_the_middle(level: float, expected: float) -> None:
    assert well_exposedness(np.full((3, 4, 4), level)) == pytest.approx(expected)


def test_present_metrics_come_in_their_order() -> None:
    assert present([{"contrast": 0.1}, {"flaw_probability": 0.2, "contrast": 0.3}]) == ["flaw_probability", "contrast"]
