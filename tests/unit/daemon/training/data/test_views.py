from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import picture
from PIL import Image, ImageOps

from daemon.training.data.views import View, best_bucket, bucket_sizes, centre_view, cut, num_crops, random_view, resized_size, time_ids

SIDES = st.integers(4, 400)
TARGETS = st.tuples(st.integers(1, 8).map(lambda n: 8 * n), st.integers(1, 8).map(lambda n: 8 * n))
DRAWS = st.integers(0, 2**63 - 1)


def test_the_centre_is_the_references_and_an_exact_picture_is_untouched() -> None:
    # torchvision: Resize(512) of 700 x 1050 is 512 x 768, CenterCrop(512) begins at (768 - 512) / 2.
    image = picture(0, 700, 1050)
    view = centre_view((1050, 700), (512, 512))
    assert view == View((512, 512), (128, 0))
    assert cut(image, view).tobytes() == image.resize((512, 768), Image.Resampling.LANCZOS).crop((0, 128, 512, 640)).tobytes()
    same = picture(0, 64, 64)
    assert cut(same, centre_view((64, 64), (64, 64))).tobytes() == same.tobytes()


@given(SIDES, SIDES, st.sampled_from([8, 16, 32, 1024]))
def test_a_square_is_resized_as_torchvision_does(height: int, width: int, resolution: int) -> None:
    longer = int(resolution * max(height, width) / min(height, width))
    assert resized_size((height, width), (resolution, resolution)) == ((longer, resolution) if height >= width else (resolution, longer))


@given(SIDES, SIDES, TARGETS, DRAWS, st.booleans())
def test_every_view_lies_inside_the_resized_image(height: int, width: int, size: tuple[int, int], draw: int, is_flipped: bool) -> None:
    resized = resized_size((height, width), size)
    assert resized[0] >= size[0]
    assert resized[1] >= size[1]
    assert resized[0] == size[0] or resized[1] == size[1]
    for view in (centre_view((height, width), size, is_flipped), random_view((height, width), size, draw, is_flipped)):
        assert (view.size, view.is_flipped) == (size, is_flipped)
        assert 0 <= view.top_left[0] <= resized[0] - size[0]
        assert 0 <= view.top_left[1] <= resized[1] - size[1]
    if num_crops((height, width), size) == 1:
        assert random_view((height, width), size, draw) == centre_view((height, width), size)


def test_random_crops_reach_every_place() -> None:
    places = {random_view((20, 16), (16, 16), draw).top_left for draw in range(100)}
    assert places == {(top, 0) for top in range(5)}
    assert {random_view((16, 21), (16, 16), draw).top_left for draw in range(100)} == {(0, left) for left in range(6)}


def test_a_flip_comes_before_the_crop() -> None:
    image = picture(0, 48, 32)
    view = View((32, 32), (0, 3), is_flipped=True)
    assert cut(image, view).tobytes() == ImageOps.mirror(image).crop((3, 0, 35, 32)).tobytes()
    assert cut(image, view).tobytes() != cut(image, View((32, 32), (0, 3))).tobytes()


def test_what_sdxl_is_told() -> None:
    assert time_ids((1050, 700), View((512, 512), (128, 0))) == (1050, 700, 128, 0, 512, 512)
    assert time_ids((20, 30), View((16, 24), (0, 5))) == (20, 30, 0, 5, 16, 24)


@given(st.integers(8, 2048), st.integers(1, 32).map(lambda n: 8 * n))
def test_buckets_are_of_whole_steps_and_about_one_area(resolution: int, step: int) -> None:
    if step > resolution:
        with pytest.raises(ValueError, match="bucket_step"):
            bucket_sizes(resolution, step)
        return
    sizes = bucket_sizes(resolution, step)
    square = resolution // step * step
    assert (square, square) in sizes
    for height, width in sizes:
        assert height % step == width % step == 0
        assert height * width <= resolution**2
        assert (width, height) in sizes
        assert height == width or max(height, width) / min(height, width) <= 4 + 1e-9


def test_the_buckets_of_sdxl_are_among_them() -> None:
    # Podell et al. (2023), appendix I.
    published = {(512, 2048), (576, 1792), (640, 1600), (704, 1472), (768, 1344), (832, 1216), (896, 1152), (960, 1088), (1024, 1024)}
    assert set(bucket_sizes(1024, 64)) == published | {(width, height) for height, width in published}


@given(SIDES, SIDES)
def test_no_other_bucket_fits_better(height: int, width: int) -> None:
    sizes = bucket_sizes(64, 8)

    def misfit(size: tuple[int, int]) -> float:
        return abs(math.log(size[1] / size[0]) - math.log(width / height))

    best = best_bucket((height, width), sizes)
    assert misfit(best) <= min(map(misfit, sizes)) + 1e-9
    assert best_bucket((height, width), sizes[::-1]) == best
    assert best_bucket((64, 64), sizes) == (64, 64)


def test_of_equally_good_buckets_the_larger_then_the_wider_is_taken() -> None:
    assert best_bucket((10, 10), [(8, 8), (16, 16)]) == (16, 16)
    assert best_bucket((10, 10), [(16, 8), (8, 16)]) == (8, 16)
