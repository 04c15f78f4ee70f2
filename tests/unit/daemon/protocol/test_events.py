import msgspec

from daemon.protocol.events import (
    AnyEvent,
    CheckpointSaved,
    ImageSaved,
    ImagesMarked,
    Logged,
    Mark,
    MetricsRecorded,
    ResidentPart,
    Residents,
    SamplesSaved,
)
from daemon.protocol.specs import ImageRecord, ImageRequest

REQUEST = ImageRequest(
    base_sha256="b", torch_dtype="float32", prompt="p", seed=1, guidance_scale=7.0, num_inference_steps=2, width=64, height=64
)


def image(arm: str | None, index: int) -> ImageSaved:
    record = ImageRecord(id="i", path="dataset/i.png", sha256="s", request=REQUEST, arm=arm)
    return ImageSaved(job_id="j", session="s", image=record, index=index, num_images=9)


def test_keys_tell_facts_apart_and_repeats_together() -> None:
    assert image("a", 1).key == image("a", 1).key
    assert len({image("a", 1).key, image("b", 1).key, image("a", 2).key}) == 3
    assert CheckpointSaved(job_id="j", step=1, path="x").key == CheckpointSaved(job_id="j", step=1, path="x").key
    assert MetricsRecorded(job_id="j", steps=(1, 2), values={"loss": (0.1, 0.2)}).key == "metrics:1-2"
    assert MetricsRecorded(job_id="j", steps=(), values={}).key is None


def test_measurements_of_a_step_are_not_its_point() -> None:
    point = MetricsRecorded(job_id="j", steps=(11,), values={"loss": (0.1,), "grad_norm": (1.0,)})
    held_out = MetricsRecorded(job_id="j", steps=(11,), values={"leak": (0.1,), "held_out_loss": (0.1,)})
    gain = MetricsRecorded(job_id="j", steps=(11,), values={"sampled_gain": (0.1,)})
    assert [event.key for event in (point, held_out, gain)] == [
        "metrics:11-11",
        "metrics:held_out_loss+leak:11-11",
        "metrics:sampled_gain:11-11",
    ]


def test_samples_of_a_step_are_one_fact_a_run() -> None:
    found = {SamplesSaved(job_id="j", session="s", run=run, step=step, pictures=()).key for run in "ab" for step in (0, 5, 5)}
    assert len(found) == 4


def test_log_lines_all_count() -> None:
    assert Logged(job_id="j", level="info", message="m").key is None


def test_events_are_told_apart_by_their_tag() -> None:
    event = image("a", 1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=AnyEvent) == event


def test_marks_and_residents_come_through_as_they_were() -> None:
    part = ResidentPart(name="unet", kind="base", num_bytes=5, device="cuda", dtype="float16")
    for event in (
        ImagesMarked(session="s", folder="dataset", marks=(Mark(id="i", status="keep", tags=("a",)), Mark(id="j"))),
        Residents(worker="w", parts=(part,), doing="loading", allocated_bytes=7),
    ):
        assert event.key is None
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=AnyEvent) == event
