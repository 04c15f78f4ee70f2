from __future__ import annotations

import asyncio

import msgspec
import pytest
from PIL import Image

from daemon.protocol.commands import ComparisonAnswer, ReadComparison
from daemon.protocol.diagnosis import ArmGuidance, Diagnosis
from daemon.protocol.effects import Claim
from daemon.protocol.events import ImageSaved
from negtui import comparing
from negtui.comparing import Looking
from tests.curation_daemon import ARMS, CurationDaemon, painting, record


def looking() -> Looking:
    found, daemon = Looking(session="toy", name="default"), CurationDaemon()
    for after in (0, 2):
        page = asyncio.run(daemon.request(ReadComparison(session="toy", name="default", after_block=after)))
        assert isinstance(page, ComparisonAnswer)
        found.take(page)
    return found


def test_pages_come_together_once() -> None:
    found = looking()
    assert [block.index for block in found.every] == [0, 1, 2]
    assert found.answer is not None
    found.take(found.answer)
    assert [block.index for block in found.every] == [0, 1, 2]


def test_the_cursor_stays_within() -> None:
    found = looking()
    found.move(-1, -1)
    assert (found.arm, found.block) == (0, 0)
    found.move(9, 9)
    assert (found.arm, found.block) == (2, 2)
    found.flick()
    assert found.arm == 0
    found.choose("[1]")
    assert found.block == 0
    assert found.current is not None
    assert found.current.index == 1


def test_zoom_looks_around_and_back() -> None:
    found = looking()
    found.zoom_by(2)
    found.look(-9, 1)
    assert found.centre == (0.0, 0.5625)
    found.zoom_by(-9)
    assert (found.zoom, found.centre) == (0, (0.5, 0.5))


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_a_crop_shows_pixels_as_squares(centre: tuple[float, float]) -> None:
    image = painting(3, 64)
    found = comparing.crop(image, 3, centre)
    assert found.size == (512, 512)
    assert len(set(found.crop((0, 0, 64, 64)).getdata())) == 1
    assert comparing.crop(image, 0, centre) is image


def test_a_difference_is_black_where_pictures_are_equal() -> None:
    one = Image.new("RGB", (8, 8), (10, 10, 10))
    other = one.copy()
    other.putpixel((3, 4), (20, 10, 10))
    found, mean = comparing.difference(one, other)
    assert found.getpixel((3, 4)) == (40, 0, 0)
    assert found.getpixel((0, 0)) == (0, 0, 0)
    assert mean == pytest.approx(10 / 64 / 3)
    assert comparing.difference(one, one)[1] == 0
    assert comparing.difference(one, one.resize((16, 16)))[0].size == (8, 8)


def test_a_comparison_is_seen_as_far_as_it_is_painted() -> None:
    told = [ImageSaved(job_id="j", session="toy", image=record(seed, arm=arm), index=0, num_images=6) for seed in (0, 1) for arm in ARMS]
    found = comparing.painted(told[:5], "toy", "default")
    assert found is not None
    assert [arm.name for arm in found.arms] == list(ARMS)
    assert [block.seed for block in found.blocks] == [0]
    assert comparing.painted([], "toy", "default") is None


def test_words_are_clean_and_name_the_figures() -> None:
    found = looking()
    assert found.answer is not None
    lines = comparing.effect_lines(found.answer)
    assert lines[0] == "The target beats the [b]baseline[/b]."
    assert lines[2:4] == [
        "flaw_probability: target - baseline",
        "  0.135 against 0.191: -0.056 [-0.079, -0.034] better",
    ]
    assert "95 % intervals of the paired difference over 32 blocks" in lines
    assert comparing.caption(found)[1] == "a star [0]"
    assert comparing.value_lines(found, 47)[1].split() == ["flaw_probability", "0", "0.1", "0.2"]
    copied = comparing.metadata(found)
    assert "\x1b" not in copied
    assert "Arm: baseline of toy/default" in copied


def test_claims_stand_before_the_differences_and_the_guidance_behind() -> None:
    answer = looking().answer
    assert answer is not None
    claim = Claim(name="artifacts", statement="fewer", verdict="not measured")
    guidance = Diagnosis(blocks=(0,), arms=(ArmGuidance(arm="target", timesteps=(999.0,), curves={"guidance_norm": (0.5,)}),))
    lines = comparing.effect_lines(msgspec.structs.replace(answer, claims=(claim,), diagnosis=guidance))
    assert lines[:3] == ["artifacts    not measured", "", "The target beats the [b]baseline[/b]."]
    assert lines[4] == "artifacts: not measured"
    assert lines.index("Guidance, step by step, over 1 block") > lines.index("flaw_probability: target - baseline")


@pytest.mark.parametrize("width", [1, 20, 27, 37, 47, 200])
def test_figures_of_many_arms_keep_to_the_width_and_every_arm_has_its_name(width: int) -> None:
    found = looking()
    names = [row for row in comparing.value_lines(found, width) if row.startswith("this block")]
    rows = [row for row in comparing.value_lines(found, width) if row.startswith("flaw_probability")]
    assert [name for row in names for name in row.split()[2:]] == list(ARMS)
    assert [float(value) for row in rows for value in row.split()[1:]] == [0, 0.1, 0.2]
    assert max(len(row) for row in names) <= max(width, 16 + 1 + comparing.MIN_COLUMN)
    assert len(names) == {37: 2, 47: 1, 200: 1}.get(width, 3)


def test_nothing_is_said_where_nothing_is() -> None:
    assert comparing.caption(Looking()) == ["", ""]
    assert comparing.metadata(Looking()) == ""
    assert comparing.value_lines(Looking(), 47) == []


def test_comparisons_go_round() -> None:
    assert comparing.next_name(["a", "b"], "b", 1) == "a"
    assert comparing.next_name(["a", "b"], "a", -1) == "b"
    assert comparing.next_name([], "a", 1) == ""
    assert comparing.next_name(["a", "b"], "gone", 1) == "b"
