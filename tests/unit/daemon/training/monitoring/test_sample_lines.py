from pathlib import Path

import msgspec
import pytest

from daemon.manifest import append_line
from daemon.protocol.events import SamplesSaved
from daemon.protocol.specs import ImageRequest
from daemon.training.monitoring.sample_lines import ArmName, Place, SampleLine, read_lines, sampled_values, samples_event, saved_samples

REQUEST = ImageRequest(
    base_sha256="b", torch_dtype="float32", prompt="p", seed=1, guidance_scale=7.0, num_inference_steps=2, width=64, height=64
)


def line(arm: ArmName, step: int, index: int = 0, **values: float) -> SampleLine:
    path = f"samples/r/step-{step:06d}/{arm}-{index:02d}.png"
    return SampleLine(path=path, step=step, arm=arm, weights_sha256="w", request=REQUEST, sha256="s", values=values)


def event(*lines: SampleLine, step: int = 9) -> SamplesSaved:
    return samples_event(lines, Place(Path("/s"), "r"), step, "j", "s")


def test_the_gain_is_over_the_better_of_the_arms_without_the_adapter() -> None:
    lines = [
        line("baseline", 0, 0, flaw_probability=0.4, adherence=1.0),
        line("placebo", 0, 0, flaw_probability=0.2, adherence=1.0),
        line("target", 9, 0, flaw_probability=0.1, adherence=1.0),
        line("baseline", 0, 1, flaw_probability=0.4),
        line("placebo", 0, 1, flaw_probability=0.4),
        line("target", 9, 1, flaw_probability=0.3),
    ]
    assert sampled_values(event(*lines)) == {"sampled_gain": pytest.approx(0.3 - 0.2), "sampled_adherence": 1.0}
    assert sampled_values(event(line("baseline", 0, flaw_probability=0.5), line("placebo", 0, flaw_probability=0.5))) == {}
    assert sampled_values(event(line("baseline", 0), line("placebo", 0), line("target", 9))) == {}


def test_lines_tell_again_what_was_told(tmp_path: Path) -> None:
    place = Place(tmp_path, "r")
    lines = [line(arm, step, index) for index in range(12) for arm, step in (("baseline", 0), ("placebo", 0), ("target", 5))]
    lines += [line("target", 10, index) for index in range(12)]
    for one in (line("target", 5, 3, flaw_probability=0.5), *lines):
        append_line(place.lines_path, msgspec.json.encode(one))
    with place.lines_path.open("ab") as file:
        file.write(b'{"path": "samples/r/st')
    found = saved_samples(place, "j", "s")
    assert [one.step for one in found] == [0, 5, 10]
    assert [(picture.arm, picture.path[-6:-4]) for picture in found[2].pictures[:6]] == [
        ("baseline", "00"), ("placebo", "00"), ("target", "00"), ("baseline", "01"), ("placebo", "01"), ("target", "01"),
    ]  # fmt: skip
    assert [len(one.pictures) for one in found] == [24, 36, 36]
    assert not any(picture.values for one in found for picture in one.pictures), "the last line of a picture counts"
    assert read_lines(tmp_path / "nothing") == {}
    assert found[2].key == "samples:r:10"
