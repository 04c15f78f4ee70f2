from __future__ import annotations

import json
from typing import Any

import pytest

from daemon.protocol.commands import (
    AnyCommand,
    ComparedArm,
    ComparedBlock,
    ComparisonAnswer,
    Images,
    ListImages,
    Marked,
    MarkImages,
    Plan,
    PlanSynthesis,
    ReadComparison,
)
from daemon.protocol.diagnosis import ArmGuidance, Diagnosis
from daemon.protocol.events import Mark
from daemon.protocol.specs import ImageRecord, ImageRequest
from tests.fake_daemon import EFFECT, FakeDaemon, call

REQUEST = ImageRequest(
    base_sha256="b", torch_dtype="float32", prompt="p", seed=3, guidance_scale=5.0, num_inference_steps=4, width=64, height=64
)


def record(id: str, **changes: Any) -> ImageRecord:
    settings: dict[str, Any] = {"keyword": "blurry", "weight": "++"} | changes
    return ImageRecord(id=id, path=f"dataset/{id}.png", sha256="0", request=REQUEST, **settings)


GUIDANCE = Diagnosis(blocks=(0,), arms=(ArmGuidance(arm="target", timesteps=(999.0,), curves={"guidance_norm": (0.5,)}),))


class Pictures(FakeDaemon):
    """A daemon with pictures, two a page, a plan and a comparison of three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.images = [record("aa1", status="keep"), record("ab2", tags=("x",)), record("b3", keyword="\x1b[31mred", status="reject")]
        self.plan = Plan(num_images=6, num_present=2, num_bytes=2**21, free_bytes=2**31)

    async def request(self, command: AnyCommand) -> Any:
        self.asked.append(command)
        match command:
            case ListImages():
                begin = next((number for number, one in enumerate(self.images, 1) if one.id == command.after), 0)
                page = tuple(self.images[begin : begin + 2])
                return Images(images=page, total=3, is_last=begin + len(page) == 3)
            case MarkImages():
                marks = tuple(Mark(id=id, status=command.status or "undecided", tags=command.add_tags) for id in command.ids)
                return Marked(marks=marks, before=marks)
            case PlanSynthesis():
                return self.plan
            case ReadComparison():
                block = ComparedBlock(index=command.after_block, prompt="p", seed=1, cells=())
                return ComparisonAnswer(
                    session=command.session,
                    name=command.name,
                    arms=(ComparedArm(name="target", means={"sharpness": 1.5}),),
                    blocks=(block,),
                    num_blocks=3,
                    effects=(EFFECT,),
                    verdict="Better \x1b[2J.",
                    report_path="r",
                    sheet_paths=(),
                    diagnosis=GUIDANCE,
                )
        self.asked.pop()
        return await super().request(command)


def test_pictures_are_listed_over_all_pages_and_filtered() -> None:
    for options, ids in (
        ([], ["aa1", "ab2", "b3"]),
        (["--keep"], ["aa1"]),
        (["--tag", "x"], ["ab2"]),
        (["--keyword", "blurry"], ["aa1", "ab2"]),
    ):
        code, out, _ = call(Pictures(), "images", "toy", "--json", *options)
        assert code == 0
        assert [json.loads(line)["image"]["id"] for line in out.splitlines()] == ids
    code, out, _ = call(Pictures(), "images", "toy")
    assert "\x1b" not in out
    assert "3 pictures: 1 kept, 1 rejected, 1 undecided." in out


def test_marks_name_pictures_by_the_beginning_of_their_ids() -> None:
    daemon = Pictures()
    code, out, _ = call(daemon, "mark", "toy", "aa", "b", "--reject", "--tag", "too-good", "--untag", "x", "--class-images")
    assert code == 0
    assert daemon.asked[-1] == MarkImages(
        session="toy", folder="class_images", ids=("aa1", "b3"), status="reject", add_tags=("too-good",), remove_tags=("x",)
    )
    assert "aa1  reject  too-good" in out


@pytest.mark.parametrize("argv", [["aa"], ["a", "--keep"], ["nosuch", "--keep"]])
def test_a_mark_that_says_nothing_or_is_not_plain_is_refused(argv: list[str]) -> None:
    daemon = Pictures()
    code, _, err = call(daemon, "mark", "toy", *argv)
    assert code == 2
    assert err.startswith("negtui: ")
    assert not any(isinstance(command, MarkImages) for command in daemon.asked)


def test_a_plan_in_words() -> None:
    daemon = Pictures()
    _, out, _ = call(daemon, "plan", "toy", "--set", "synthesis.seeds=[1, 2]")
    assert daemon.asked == [PlanSynthesis(name="toy", changes={"synthesis.seeds": "[1, 2]"})]
    assert out.splitlines() == [
        "6 pictures, 2 are there already.",
        "Time: unknown; no picture of this model was painted here yet.",
        "Disk: about 2.0 MiB; 2.0 GiB are free.",
    ]
    daemon.plan = Plan(num_images=1, num_present=0, num_bytes=0, free_bytes=0, seconds=90.0, seconds_per_image=90.0, num_measured=4)
    assert "Time: about 1 min 30 s (1 min 30 s a picture, measured on 4)." in call(daemon, "plan", "toy")[1]


def test_results_are_those_of_the_declared_comparison_and_all_pages_as_json() -> None:
    _, out, _ = call(Pictures(), "results", "toy")
    assert "toy: 'default' over 3 blocks" in out
    assert "1.5" in out
    assert "\x1b" not in out
    assert "flaw_probability  target - baseline" in out
    assert "not clear" not in out
    assert "guidance_norm" not in out
    assert "Guidance of 1 block, step by step: --all" in out
    _, out, _ = call(Pictures(), "results", "toy", "--all")
    assert "guidance_norm: size of the guidance" in out
    daemon = Pictures()
    _, out, _ = call(daemon, "results", "toy", "--comparison", "full", "--json")
    assert [json.loads(line)["comparison"]["blocks"][0]["index"] for line in out.splitlines()] == [0, 1, 2]
    assert {command.name for command in daemon.asked if isinstance(command, ReadComparison)} == {"full"}
