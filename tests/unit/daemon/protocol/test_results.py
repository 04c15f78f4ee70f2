from __future__ import annotations

import msgspec

from daemon.protocol import codec, commands
from daemon.protocol.results import AnyResult, Images, Marked, Plan, Result
from daemon.protocol.specs import ImageRecord, ImageRequest

REQUEST = ImageRequest(
    base_sha256="b", torch_dtype="float32", prompt="p", seed=0, guidance_scale=5.0, num_inference_steps=4, width=64, height=64
)


def test_every_result_can_be_decoded_and_is_offered_beside_the_commands() -> None:
    known = set(AnyResult.__args__)  # type: ignore[attr-defined]
    assert known == set(Result.__subclasses__())
    assert all(getattr(commands, kind.__name__) is kind for kind in known)


def test_pictures_and_marks_come_through_as_they_were() -> None:
    record = ImageRecord(id="i", path="dataset/i.png", sha256="0", request=REQUEST, status="keep", tags=("a", "b"))
    for result in (
        Images(images=(record,), total=1, is_last=True),
        Marked(marks=(), before=()),
        Plan(num_images=3, num_present=1, num_bytes=5, free_bytes=9),
    ):
        assert codec.decode_result(codec.encode(result)) == result


def test_a_record_without_marks_is_written_as_it_was_before_there_were_tags() -> None:
    record = ImageRecord(id="i", path="dataset/i.png", sha256="0", request=REQUEST)
    assert b"tags" not in codec.encode(record)
    later = msgspec.json.encode({**msgspec.to_builtins(record), "a_field_of_tomorrow": 1})
    assert msgspec.json.decode(later, type=ImageRecord) == record
