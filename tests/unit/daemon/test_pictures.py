"""A picture is whole or not there, carries its settings, and is painted once."""

import io
from pathlib import Path

import pytest
from painting import IDENTITY, JPEG, MODEL, NUM_STEPS, Desk, draw, file_states, request
from PIL import Image

from daemon.engine.base import ModelIdentity
from daemon.files import sha256_file
from daemon.picture_text import picture_text
from daemon.pictures import (
    PaintPace,
    encode_png,
    encode_thumbnail,
    image_id,
    make_request,
    paint_or_reuse,
    save_picture,
    thumbnail_path,
    whole_png_sha256,
)
from daemon.protocol.errors import NegError
from daemon.protocol.events import Preview, StepProgress
from daemon.protocol.specs import AdapterRequest, EmbeddingRequest, SamplingSpec
from daemon.recipe import Interrupted
from negtui.picture_text import read_request


def paint(desk: Desk, folder: Path, **changes: object):
    return paint_or_reuse(PaintPace(desk.context, "paint", 1), MODEL, request(**changes), folder, index=0, label="a label")


def test_the_same_picture_is_the_same_bytes(tmp_path: Path) -> None:
    one, two = (encode_png(draw(request()), picture_text(request())) for _ in range(2))
    assert one == two
    sha256 = save_picture(tmp_path, "a", draw(request()), picture_text(request()))
    assert sha256 == sha256_file(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert read.convert("RGB").tobytes() == draw(request()).tobytes()


@pytest.mark.parametrize(("width", "height", "expected"), [(1024, 512, (256, 128)), (64, 64, (64, 64)), (8, 1024, (2, 256))])
def test_a_thumbnail_fits_and_is_never_enlarged(width: int, height: int, expected: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(encode_thumbnail(Image.new("RGB", (width, height)), 256))) as small:
        assert small.size == expected


def test_a_cut_or_altered_png_is_not_whole(tmp_path: Path) -> None:
    content = encode_png(draw(request()), picture_text(request()))
    path = tmp_path / "a.png"
    for cut in (0, 1, 20, len(content) // 2, len(content) - 12, len(content) - 1):
        path.write_bytes(content[:cut])
        assert whole_png_sha256(path, (64, 64)) is None, cut
    path.write_bytes(content[:-60] + bytes([content[-60] ^ 1]) + content[-59:])
    assert whole_png_sha256(path, (64, 64)) is None
    path.write_bytes(content)
    assert whole_png_sha256(path, (64, 64)) == sha256_file(path)
    assert whole_png_sha256(path, (64, 72)) is None
    assert whole_png_sha256(tmp_path / "missing.png", (64, 64)) is None


def test_what_is_there_is_not_painted_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    first = paint(desk, tmp_path)
    before = file_states(tmp_path)
    second = paint(desk, tmp_path)
    assert (first.reused, second.reused) == (False, True)
    assert (first.id, first.sha256) == (second.id, second.sha256)
    assert len(desk.engine.painted) == 1
    assert file_states(tmp_path) == before
    assert first.path == tmp_path / f"{image_id(request())}.png"


def test_a_damaged_picture_and_one_that_is_another_file_are_painted_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    first = paint(desk, tmp_path)
    first.path.write_bytes(first.path.read_bytes()[:-5])
    assert not paint(desk, tmp_path).reused
    first.path.write_bytes(encode_png(Image.new("RGB", (64, 64))))
    pace = PaintPace(desk.context, "paint", 1)
    again = paint_or_reuse(pace, MODEL, request(), tmp_path, index=0, known_sha256=first.sha256)
    assert (again.reused, again.sha256) == (False, first.sha256)


def test_lost_thumbnails_are_made_again_without_painting(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    picture = paint(desk, tmp_path)
    thumbnails = [thumbnail_path(tmp_path, picture.id, pixels) for pixels in (64, 256, 512)]
    contents = [path.read_bytes() for path in thumbnails]
    thumbnails[0].unlink()
    thumbnails[1].write_bytes(b"")
    assert paint(desk, tmp_path).reused
    assert [path.read_bytes() for path in thumbnails] == contents


@pytest.mark.parametrize("stop_after", range(NUM_STEPS))
def test_a_stop_leaves_at_that_step_and_no_file(tmp_path: Path, stop_after: int) -> None:
    desk = Desk(tmp_path, stop_after=stop_after)
    with pytest.raises(Interrupted):
        paint(desk, tmp_path)
    assert [event.step for event in desk.told if isinstance(event, StepProgress)] == list(range(stop_after + 1))
    assert desk.engine.painted == []
    assert file_states(tmp_path) == {}


def test_every_step_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    paint(desk, tmp_path)
    steps = [event for event in desk.told if isinstance(event, StepProgress)]
    assert [(event.step, event.num_steps, event.image_index, event.num_images) for event in steps] == [
        (step, NUM_STEPS, 0, 1) for step in range(NUM_STEPS + 1)
    ]
    assert {(event.phase, event.label, event.job_id) for event in steps} == {("paint", "a label", "job-1")}
    assert steps[-1].eta_seconds == 0
    assert [event.steps_per_second is None for event in steps] == [True, True, False, False, False]


def test_the_time_left_counts_the_pictures_to_come(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    paint_or_reuse(PaintPace(desk.context, "paint", 3), MODEL, request(), tmp_path, index=0)
    last = [event for event in desk.told if isinstance(event, StepProgress)][-1]
    assert last.eta_seconds is not None
    assert last.steps_per_second is not None
    assert last.eta_seconds * last.steps_per_second == pytest.approx(2 * NUM_STEPS)


@pytest.mark.parametrize("watched", [True, False])
def test_previews_are_sent_only_to_whom_watches(tmp_path: Path, watched: bool) -> None:
    desk = Desk(tmp_path, watched=watched)
    picture = paint(desk, tmp_path)
    previews = [event for event in desk.told if isinstance(event, Preview)]
    assert [(event.image_id, event.jpeg) for event in previews[:1]] == ([(picture.id, JPEG)] if watched else [])


def test_a_full_disk_is_said_before_painting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)

    class Usage:
        free = 3 * 64 * 64 - 1

    monkeypatch.setattr("daemon.files.shutil.disk_usage", lambda folder: Usage)
    with pytest.raises(NegError) as caught:
        paint(desk, tmp_path)
    assert caught.value.detail.code == "disk_full"
    assert desk.told == []


def test_requests_without_a_refiner_or_a_split_are_one_form() -> None:
    def make(identity: ModelIdentity, split: float | None):
        sampling = SamplingSpec(denoising_split=split)
        return make_request(identity, sampling, prompt="a", negative_prompt=None, seed=0, guidance_scale=8)

    alone = ModelIdentity(base_sha256=IDENTITY.base_sha256, torch_dtype="float32")
    assert make(IDENTITY, None) == make(alone, 0.8) == make(alone, None)
    assert make(IDENTITY, 0.8).refiner_sha256 == IDENTITY.refiner_sha256
    assert image_id(make(IDENTITY, 0.8)) != image_id(make(IDENTITY, None))
    assert image_id(make(alone, None)) == image_id(make(alone, 0.5))


def test_an_id_is_32_hex_digits_and_follows_every_setting() -> None:
    ids = {image_id(request(**change)) for change in ({}, {"seed": 8}, {"prompt": "b"}, {"negative_prompt": ""}, {"guidance_scale": 5.5})}
    assert len(ids) == 5
    assert all(len(id) == 32 and int(id, 16) >= 0 for id in ids)


def test_ids_without_learned_embeddings_are_those_of_earlier_versions(tmp_path: Path) -> None:
    assert image_id(request()) == "9def7848cecb04fe553a7a49a3fcdba3"
    without = make_request(IDENTITY, SamplingSpec(), prompt="a", negative_prompt=None, seed=1, guidance_scale=5.0)
    assert "embeddings" not in picture_text(without)["request"]
    use = EmbeddingRequest(sha256="e5", placeholder_token="<wrong>")
    learned = make_request(IDENTITY, SamplingSpec(), prompt="a", negative_prompt=None, seed=1, guidance_scale=5.0, embeddings=(use,))
    assert image_id(learned) != image_id(without)
    for one in (without, learned):
        save_picture(tmp_path, "one", draw(one), picture_text(one))
        assert read_request(tmp_path / "one.png") == one


def test_the_ids_of_pictures_painted_before_stay() -> None:
    """New settings must not change what a request without them is called: finished pictures would be painted again."""
    painted = request(
        base_sha256="ba5e" * 16,
        refiner_sha256="4ef1" * 16,
        adapters=(AdapterRequest(sha256="ada9" * 16, weight=1.0),),
        prompt="a wolf",
        negative_prompt="wrong",
        seed=84061037,
        guidance_scale=13.0,
        num_inference_steps=50,
        width=1024,
        height=1024,
        denoising_split=0.8,
    )
    assert image_id(painted) == "75b98f610e94835559c6e919f355b0d4"
