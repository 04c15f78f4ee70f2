from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from painting import IDENTITY, request

from daemon.protocol.events import ImageSaved
from daemon.protocol.specs import ImageRecord, SynthesisSpec
from daemon.sessions.estimate import Painted, paces, plan
from daemon.synthesis.plan import plan as planned_images

SPEC = SynthesisSpec(
    keywords=("blurry", "bad (hands)"),
    weights=("++", 1.4),
    guidance_scales=(5, 8),
    seeds=(1, 2),
    width=64,
    height=64,
    num_inference_steps=4,
)


def records(spec: SynthesisSpec) -> list[ImageRecord]:
    """As a synthesis writes them."""
    return [
        ImageRecord(id=str(n), path=f"dataset/{n}.png", sha256="0", request=one.request, keyword=one.keyword, weight=one.weight)
        for n, one in enumerate(planned_images(spec, IDENTITY))
    ]


def saved(reused: bool = False) -> ImageSaved:
    record = ImageRecord(id="i", path="dataset/i.png", sha256="0", request=request())
    return ImageSaved(job_id="j", session="s", image=record, index=0, num_images=9, reused=reused)


def test_all_that_was_painted_for_a_plan_counts_as_there(tmp_path: Path) -> None:
    found = plan(SPEC, tmp_path, records(SPEC), [])
    assert (found.num_images, found.num_present, found.num_bytes, found.seconds) == (16, 16, 0, None)


def test_pictures_of_other_settings_do_not_count(tmp_path: Path) -> None:
    for changes in ({"negative_prompt": ""}, {"width": 128}, {"keywords": ("blurry",)}, {"num_inference_steps": 5}, {"seeds": (3,)}):
        other = SynthesisSpec(**{name: getattr(SPEC, name) for name in SPEC.__struct_fields__} | changes)
        found = plan(other, tmp_path, records(SPEC), [])
        assert found.num_present == 0, changes


def test_pictures_of_another_model_do_not_count(tmp_path: Path) -> None:
    assert plan(SPEC, tmp_path, records(SPEC), [Painted(request(base_sha256="another"), 1.0)]).num_present == 0


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=9))
def test_the_pace_is_the_median_of_pictures_of_this_size(tmp_path_factory: object, seconds: list[float]) -> None:
    same = [Painted(request(width=64, height=64, num_inference_steps=4), one) for one in seconds]
    other = [Painted(request(width=128, height=128, num_inference_steps=4), 1e6)]
    found = plan(SPEC, Path("/"), [], other + same)
    assert found.num_measured == len(seconds)
    assert found.seconds_per_image == sorted(seconds)[len(seconds) // 2] or len(seconds) % 2 == 0
    assert min(seconds) <= (found.seconds_per_image or 0) <= max(seconds)
    assert found.seconds == 16 * (found.seconds_per_image or 0)


def test_other_sizes_are_scaled_by_pixels_and_steps(tmp_path: Path) -> None:
    found = plan(SPEC, tmp_path, [], [Painted(request(width=128, height=128, num_inference_steps=8), 8.0)])
    assert found.seconds_per_image == 1.0


def test_bytes_are_measured_on_what_is_there(tmp_path: Path) -> None:
    there = records(SPEC)[:1]
    for name, size in (("0.png", 1000), (".thumbnails/64/0.webp", 10), (".thumbnails/512/0.webp", 200)):
        (tmp_path / "dataset" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dataset" / name).write_bytes(b"x" * size)
    assert plan(SPEC, tmp_path, there, []).num_bytes == 15 * 1210


def test_reused_pictures_and_the_first_one_measure_nothing() -> None:
    told = [(10.0, saved()), (12.0, saved()), (12.1, saved(reused=True)), (15.1, saved())]
    assert [round(one.seconds, 6) for one in paces(told)] == [2.0, 3.0]
    assert paces([]) == []
