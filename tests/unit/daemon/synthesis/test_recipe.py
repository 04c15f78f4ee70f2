"""Synthesis goes on where it stopped, paints nothing twice, and keeps a person's marks."""

from pathlib import Path

import msgspec
import pytest
from counting import CountingScorer
from painting import IDENTITY, MODEL, Desk, file_states

from daemon.files import sha256_file
from daemon.manifest import append_line, read_manifest
from daemon.protocol.events import DurableEvent, ImageSaved, Logged, StepProgress
from daemon.protocol.specs import SynthesisSpec, SynthesizeJob
from daemon.recipe import Interrupted
from daemon.synthesis.recipe import synthesize
from negtui.picture_text import read_request


def job(**changes: object) -> SynthesizeJob:
    settings: dict[str, object] = {"keywords": ("blurry", "ugly"), "guidance_scales": (8, 9), "width": 64, "height": 64}
    return SynthesizeJob(session="mine", model=MODEL, synthesis=SynthesisSpec(**settings | changes))


def test_every_picture_is_saved_with_its_record(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    events = list(synthesize(job(), desk.context))
    assert [type(event) for event in events] == [ImageSaved] * 4
    assert [(event.index, event.num_images, event.reused) for event in events] == [(index, 4, False) for index in range(4)]
    assert [(e.image.keyword, e.image.weight, e.image.request.guidance_scale) for e in events] == [
        ("blurry", "++++", 8), ("blurry", "++++", 9), ("ugly", "++++", 8), ("ugly", "++++", 9),
    ]  # fmt: skip
    for event in events:
        path = tmp_path / event.image.path
        assert path == tmp_path / "dataset" / f"{event.image.id}.png"
        assert sha256_file(path) == event.image.sha256
        assert read_request(path) == event.image.request
        assert event.image.request.base_sha256 == IDENTITY.base_sha256
    assert read_manifest(tmp_path / "dataset/manifest.jsonl") == [event.image for event in events]
    assert {event.phase for event in desk.told if isinstance(event, StepProgress)} == {"synthesise"}


def test_a_rerun_paints_nothing_writes_nothing_and_tells_the_same(tmp_path: Path) -> None:
    first = list(synthesize(job(), Desk(tmp_path).context))
    before = file_states(tmp_path)
    desk = Desk(tmp_path)
    again = list(synthesize(job(), desk.context))
    assert desk.engine.painted == []
    assert file_states(tmp_path) == before
    assert again == [msgspec.structs.replace(event, reused=True) for event in first]
    assert [event.key for event in again] == [event.key for event in first]


@pytest.mark.parametrize("stop_after", [0, 1, 4, 5, 7, 12, 19])
def test_stopped_anywhere_it_ends_with_the_same_files(tmp_path: Path, stop_after: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = [event.image for event in synthesize(job(), Desk(whole).context)]
    stopped = Desk(broken, stop_after=stop_after)
    told: list[DurableEvent] = []
    with pytest.raises(Interrupted):
        told.extend(synthesize(job(), stopped.context))
    resumed = Desk(broken)
    events = list(synthesize(job(), resumed.context))
    assert [event.image for event in events] == expected
    assert [event.reused for event in events] == [True] * len(told) + [False] * (4 - len(told))
    assert len(stopped.engine.painted) + len(resumed.engine.painted) == 4
    assert contents(broken) == contents(whole)


def test_what_scorers_read_stands_in_the_manifest_and_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = CountingScorer().install(monkeypatch)
    plain = list(synthesize(job(), Desk(tmp_path).context))
    asking = msgspec.structs.replace(job(), scorers=("toy-probe",))
    read = list(synthesize(asking, Desk(tmp_path).context))
    assert (scorer.num_measured, scorer.num_loads) == (4, 1)
    assert all("flaw_probability" in event.image.values for event in read if isinstance(event, ImageSaved))
    assert [msgspec.structs.replace(event.image, values={}) for event in read] == [event.image for event in plain]
    assert read_manifest(tmp_path / "dataset/manifest.jsonl") == [event.image for event in read]
    # With no scorer asked for any more, what was read stays.
    for again in (asking, job()):
        assert list(synthesize(again, Desk(tmp_path).context)) == read
    (tmp_path / read[0].image.path).write_bytes(b"torn")
    list(synthesize(asking, Desk(tmp_path).context))
    assert scorer.num_measured == 4, "painted again it is the same picture"


def test_a_mark_survives_a_rerun_and_a_repainting(tmp_path: Path) -> None:
    events = list(synthesize(job(), Desk(tmp_path).context))
    manifest = tmp_path / "dataset/manifest.jsonl"
    append_line(manifest, msgspec.json.encode(msgspec.structs.replace(events[1].image, status="reject")))
    (tmp_path / events[1].image.path).unlink()
    desk = Desk(tmp_path)
    again = list(synthesize(job(), desk.context))
    assert len(desk.engine.painted) == 1
    assert [event.image.status for event in again] == ["undecided", "reject", "undecided", "undecided"]
    assert [record.status for record in read_manifest(manifest)] == ["undecided", "reject", "undecided", "undecided"]


def test_a_manifest_that_was_lost_is_written_again_without_painting(tmp_path: Path) -> None:
    events = list(synthesize(job(), Desk(tmp_path).context))
    (tmp_path / "dataset/manifest.jsonl").unlink()
    desk = Desk(tmp_path)
    list(synthesize(job(), desk.context))
    assert desk.engine.painted == []
    assert read_manifest(tmp_path / "dataset/manifest.jsonl") == [event.image for event in events]


def test_pictures_of_another_plan_stay_and_are_named(tmp_path: Path) -> None:
    list(synthesize(job(), Desk(tmp_path).context))
    *_, last = synthesize(job(keywords=("error",)), Desk(tmp_path).context)
    assert isinstance(last, Logged)
    assert "4 pictures of other settings" in last.message
    assert len(read_manifest(tmp_path / "dataset/manifest.jsonl")) == 6


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
