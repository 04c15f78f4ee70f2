import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image
from tiny_sdxl import IDENTITY, RESOLUTION, SPEC, TinyEngine, make_context, stock_pipeline

from daemon.protocol.events import EphemeralEvent, SamplesSaved, StepProgress
from daemon.recipe import Interrupted
from daemon.training.adapters.attach import attached
from daemon.training.monitoring.sample_lines import Place, read_lines
from daemon.training.monitoring.samples import Sampler
from negtui.picture_text import read_request

PROMPTS = ("a red circle", "(two)++ stars")
SAMPLED = msgspec.structs.replace(SPEC, sample_prompts=PROMPTS, sample_num_inference_steps=3, sample_guidance_scale=4.0, sample_seed=5)


@contextlib.contextmanager
def nothing_to_switch_off() -> Iterator[None]:
    yield


def sampler(parts: Any, path: Path, told: list[EphemeralEvent] | None = None, spec: Any = SAMPLED, **options: Any) -> Sampler:
    seen: list[EphemeralEvent] = [] if told is None else told
    context = make_context(path, TinyEngine(parts), tell=seen.append, **options)
    return Sampler(
        spec, parts, Place(path, "r"), context, "wrong", lambda images, prompts: [{"mean": float(images[0].getpixel((0, 0))[0])}]
    )


def test_arms_are_what_the_stock_pipeline_paints(parts: Any, tmp_path: Path) -> None:
    spec = msgspec.structs.replace(SAMPLED, sample_prompts=PROMPTS[:1])
    with attached(parts, spec) as adapter:
        with torch.no_grad():
            for parameter in adapter.parameters.values():
                parameter.add_(0.3)
        saved = sampler(parts, tmp_path, spec=spec).paint(4, "w", adapter.off)
        live = [Image.open(tmp_path / picture.path) for picture in saved.pictures]
        pipeline = stock_pipeline(parts)
        pipeline.set_progress_bar_config(disable=True)

        def paint(negative_prompt: str | None) -> Image.Image:
            return pipeline(
                PROMPTS[0],
                negative_prompt=negative_prompt,
                width=RESOLUTION,
                height=RESOLUTION,
                num_inference_steps=3,
                guidance_scale=4.0,
                generator=torch.Generator().manual_seed(5),
            ).images[0]

        target = paint("wrong")
        with adapter.off():
            baseline, placebo = paint(None), paint("wrong")
    assert [picture.arm for picture in saved.pictures] == ["baseline", "placebo", "target"]
    assert [picture.negative_prompt for picture in saved.pictures] == [None, "wrong", "wrong"]
    assert [image.tobytes() for image in live] == [image.tobytes() for image in (baseline, placebo, target)]
    assert len({image.tobytes() for image in live}) == 3


def test_pictures_and_their_lines_say_what_they_are(parts: Any, tmp_path: Path) -> None:
    saved = sampler(parts, tmp_path).paint(4, "w", nothing_to_switch_off)
    paths = [picture.path for picture in saved.pictures]
    assert paths[0] == "samples/r/step-000000/baseline-00.png"
    assert paths[-1] == "samples/r/step-000004/target-01.png"
    lines = read_lines(tmp_path / "samples" / "r" / "samples.jsonl")
    assert list(lines) == paths
    assert lines[paths[-1]].weights_sha256 == "w"
    request = read_request(tmp_path / paths[-1])
    assert request is not None
    assert (request, request.prompt, request.base_sha256) == (lines[paths[-1]].request, PROMPTS[1], IDENTITY.base_sha256)
    assert saved.pictures[-1].values == lines[paths[-1]].values != {}


def num_steps_of(told: list[EphemeralEvent]) -> int:
    return sum(isinstance(event, StepProgress) and event.step > 0 for event in told)


def test_what_stands_there_from_the_same_weights_is_not_painted_again(parts: Any, tmp_path: Path) -> None:
    told: list[EphemeralEvent] = []
    first = sampler(parts, tmp_path).paint(4, "w", nothing_to_switch_off)
    again = sampler(parts, tmp_path, told)
    assert again.paint(4, "w", nothing_to_switch_off) == first
    assert num_steps_of(told) == 0
    again.paint(8, "x", nothing_to_switch_off)
    assert num_steps_of(told) == 2 * 3, "baseline and placebo never change"
    again.paint(4, "another", nothing_to_switch_off)
    assert num_steps_of(told) == 2 * 2 * 3, "other weights paint other pictures"
    (tmp_path / first.pictures[0].path).write_bytes(b"torn")
    assert again.paint(8, "x", nothing_to_switch_off).pictures[0] == first.pictures[0]
    assert num_steps_of(told) == 2 * 2 * 3 + 3


def test_it_stops_at_a_denoising_step_and_whole_pictures_stay(parts: Any, tmp_path: Path) -> None:
    told: list[EphemeralEvent] = []
    stopped = sampler(parts, tmp_path, told, asked=lambda: "pause" if num_steps_of(told) >= 5 else None)
    with pytest.raises(Interrupted):
        stopped.paint(4, "w", nothing_to_switch_off)
    assert [path.name for path in sorted((tmp_path / "samples").rglob("*.png"))] == ["baseline-00.png"]
    whole: list[EphemeralEvent] = []
    saved = sampler(parts, tmp_path, whole).paint(4, "w", nothing_to_switch_off)
    assert isinstance(saved, SamplesSaved)
    assert num_steps_of(whole) == 5 * 3


def test_previews_are_made_for_who_watches(parts: Any, tmp_path: Path) -> None:
    told: list[EphemeralEvent] = []
    sampler(parts, tmp_path, told, previews_wanted=lambda: True).paint(4, "w", nothing_to_switch_off, ("target",))
    assert {type(event).__name__ for event in told} == {"StepProgress", "Preview"}
