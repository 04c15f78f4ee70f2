from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from image_files import fill, spec
from painting import IDENTITY, MODEL, Desk, FakeEngine, file_states

from daemon.engine.base import ModelIdentity
from daemon.manifest import append_line, read_manifest
from daemon.pictures import image_id
from daemon.protocol.events import ImageSaved, StepProgress
from daemon.protocol.specs import TrainJob
from daemon.recipe import Interrupted
from daemon.training.data.class_images import CLASS_IMAGES_FOLDER, class_request, class_seed, is_class_image, paint_class_images
from daemon.training.data.dataset import read_dataset

PRESERVING = {"with_prior_preservation": True, "class_prompt": "a toy", "num_class_images": 4}


def paint(desk: Desk, **changes: object) -> list[ImageSaved]:
    job = TrainJob(session="mine", model=MODEL, training=spec(**PRESERVING | changes))
    return list(paint_class_images(job, desk.context))  # type: ignore[arg-type]


def pictures(session_path: Path) -> list[str]:
    return sorted(path.stem for path in (session_path / CLASS_IMAGES_FOLDER).glob("*.png"))


def test_the_base_paints_the_class_prompt_and_records_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    saved = paint(desk)
    assert [(event.index, event.num_images, event.reused) for event in saved] == [(index, 4, False) for index in range(4)]
    requests = desk.engine.painted
    assert requests == [class_request(spec(**PRESERVING), IDENTITY, class_seed(index)) for index in range(4)]
    one = requests[0]
    assert (one.prompt, one.width, one.height, one.refiner_sha256, one.denoising_split, one.negative_prompt) == (
        "a toy",
        32,
        32,
        None,
        None,
        None,
    )
    assert (one.num_inference_steps, one.guidance_scale) == (50, 5.0)
    assert len({request.seed for request in requests}) == 4
    records = read_manifest(tmp_path / CLASS_IMAGES_FOLDER / "manifest.jsonl")
    assert [record.path for record in records] == [f"class_images/{image_id(request)}.png" for request in requests]
    assert [event for event in desk.told if isinstance(event, StepProgress)][-1].num_images == 4


def test_what_is_painted_is_what_is_trained_on(tmp_path: Path) -> None:
    fill(tmp_path / "dataset", (32, 32))
    paint(Desk(tmp_path))
    found = read_dataset(tmp_path, spec(**PRESERVING), identity=IDENTITY).class_images
    assert sorted(image.path.stem for image in found) == pictures(tmp_path)
    assert {image.original_size for image in found} == {(32, 32)}


def test_nothing_is_painted_twice_whatever_the_trainings_seed(tmp_path: Path) -> None:
    paint(Desk(tmp_path))
    before, desk = file_states(tmp_path), Desk(tmp_path)
    assert [event.reused for event in paint(desk, seed=99)] == [True] * 4
    assert (desk.engine.painted, file_states(tmp_path)) == ([], before)


def test_an_interruption_keeps_what_is_done_and_the_rest_follows(tmp_path: Path) -> None:
    whole = Desk(tmp_path / "whole")
    paint(whole)
    desk = Desk(tmp_path / "cut", stop_after=12)
    with pytest.raises(Interrupted):
        paint(desk)
    assert 0 < len(pictures(tmp_path / "cut")) < 4
    rest = Desk(tmp_path / "cut")
    paint(rest)
    assert len(desk.engine.painted) + len(rest.engine.painted) == 4
    assert pictures(tmp_path / "cut") == pictures(tmp_path / "whole")


def test_a_persons_own_images_count_and_broken_ones_do_not(tmp_path: Path) -> None:
    folder = fill(tmp_path / CLASS_IMAGES_FOLDER, (40, 20), (20, 20), (30, 30))
    (folder / "broken.png").write_bytes(b"x")
    desk = Desk(tmp_path)
    assert len(paint(desk)) == len(desk.engine.painted) == 1
    assert paint(Desk(tmp_path), num_class_images=3) == []
    fill(tmp_path / "dataset", (32, 32))
    assert len(read_dataset(tmp_path, spec(**PRESERVING), identity=IDENTITY).class_images) == 4


def test_a_rejected_one_is_replaced_by_another(tmp_path: Path) -> None:
    paint(Desk(tmp_path))
    path = tmp_path / CLASS_IMAGES_FOLDER / "manifest.jsonl"
    rejected = read_manifest(path)[1]
    append_line(path, msgspec.json.encode(msgspec.structs.replace(rejected, status="reject")))
    desk = Desk(tmp_path)
    saved = paint(desk)
    assert [request.seed for request in desk.engine.painted] == [class_seed(4)]
    assert rejected.id not in {event.image.id for event in saved}
    fill(tmp_path / "dataset", (32, 32))
    found = read_dataset(tmp_path, spec(**PRESERVING), identity=IDENTITY).class_images
    assert {image.path.stem for image in found} == {event.image.id for event in saved}


def test_another_model_or_prompt_paints_its_own_beside_them(tmp_path: Path) -> None:
    paint(Desk(tmp_path))
    other = FakeEngine(identity=ModelIdentity(base_sha256="c" * 64, torch_dtype="float32"))
    paint(Desk(tmp_path, engine=other))
    desk = Desk(tmp_path)
    paint(desk, class_prompt="a dog")
    assert (len(other.painted), len(desk.engine.painted), len(pictures(tmp_path))) == (4, 4, 12)
    for record in read_manifest(tmp_path / CLASS_IMAGES_FOLDER / "manifest.jsonl"):
        is_first = record.request.prompt == "a toy" and record.request.base_sha256 == IDENTITY.base_sha256
        assert is_class_image(record, spec(**PRESERVING), IDENTITY) == is_first


@pytest.mark.parametrize("changes", [{"with_prior_preservation": False}, {"class_data_dir": "mine"}])
def test_nothing_is_painted_where_none_is_wanted_or_a_folder_is_named(tmp_path: Path, changes: dict[str, object]) -> None:
    desk = Desk(tmp_path)
    assert paint(desk, **changes) == []
    assert not desk.engine.painted
    assert not (tmp_path / CLASS_IMAGES_FOLDER).exists()
