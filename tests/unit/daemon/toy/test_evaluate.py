"""The evaluation: prompts, sums and sheets; its pictures are measured by running it."""

from __future__ import annotations

import pytest
from PIL import Image

from daemon.toy.evaluate import Painter, reconstruction_psnr, sheet, summary, synthesis_prompt
from daemon.toy.export import export
from daemon.toy.probe import Reading
from daemon.toy.scenes import FLAWS


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Painter:
    """An untrained toy: its pictures are noise, but real ones."""
    folder = tmp_path_factory.mktemp("untrained")
    export(folder, folder / "weights")
    return Painter(folder / "weights/base", folder / "weights/refiner")


def test_a_synthesis_prompt_holds_every_flaw_and_weights_one() -> None:
    prompt = synthesis_prompt("grainy")
    assert prompt.count(",") == len(FLAWS) - 1
    assert "(grainy)++++" in prompt


def test_the_summary_counts_attributes_and_whole_pictures() -> None:
    readings = [Reading("star", "red", 1, "white", 0.0), Reading("star", "red", 2, "white", 0.5)]
    shares = summary(readings, ["a small red star on a white background"] * 2)
    assert shares["flaw_probability"] == 0.25
    assert shares["all_attributes_right"] == 0.5
    assert shares["count_right"] == 0.5
    assert shares["colour_right"] == 1.0


def test_a_sheet_has_a_row_a_caption() -> None:
    paper = sheet([Image.new("RGB", (64, 64))] * 6, 3, ["first", "second"])
    assert paper.size == (3 * 66 + 2, 2 * 78 + 2)


def test_psnr_is_in_decibels(painter: Painter) -> None:
    decibels = reconstruction_psnr(painter.base.vae, 2)
    assert 0 < decibels["mean"] < 40


def test_weighted_prompts_and_negatives_go_through_base_and_refiner(painter: Painter) -> None:
    prompts = ["a red circle, (blurry)1.4", "two green squares"]
    pictures = painter.paint(prompts, negative="wrong")
    assert [picture.size for picture in pictures] == [(64, 64)] * 2


def test_a_pictures_seed_does_not_depend_on_its_batch(painter: Painter) -> None:
    both = painter.paint(["a red circle", "two green squares"], seed=3)
    alone = painter.paint(["two green squares"], seed=4)[0]
    different = [abs(a - b) for a, b in zip(both[1].tobytes(), alone.tobytes(), strict=True)]
    assert max(different) <= 2
