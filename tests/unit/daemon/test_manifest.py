"""A manifest outlives torn lines, and a person's marks outlive a rerun."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from painting import request

from daemon import manifest as module
from daemon.manifest import Manifest, append_line, read_manifest, write_manifest
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRecord


def record(id: str = "a", **changes: object) -> ImageRecord:
    settings: dict[str, object] = {"id": id, "path": f"dataset/{id}.png", "sha256": f"hash of {id}", "request": request()}
    return ImageRecord(**settings | changes)


def test_a_missing_manifest_is_empty(tmp_path: Path) -> None:
    assert read_manifest(tmp_path / "manifest.jsonl") == []


def test_what_is_written_is_read(tmp_path: Path) -> None:
    records = [record("a"), record("b", arm="target", keyword="blurry", weight=1.4), record("b", arm="placebo", weight="++")]
    write_manifest(tmp_path / "manifest.jsonl", records)
    assert read_manifest(tmp_path / "manifest.jsonl") == records


@given(cut=st.integers(0, 2000), torn=st.sampled_from([b"", b"\0" * 9, b"\xff{", b'","id":']))
def test_a_torn_last_line_costs_that_line_only_and_the_next_is_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int, torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "manifest.jsonl"
    whole = msgspec.json.encode(record("a")) + b"\n"
    last = msgspec.json.encode(record("b"))
    path.write_bytes(whole + last[: min(cut, len(last) - 1)] + torn)
    manifest = Manifest(path)
    assert manifest.records() == [record("a")]
    manifest.keep(record("c"))
    assert read_manifest(path) == [record("a"), record("c")]


def test_keeping_what_is_there_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    Manifest(path).keep(record())
    before = path.stat()
    assert Manifest(path).keep(record()) == record()
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)


@pytest.mark.parametrize("status", ["keep", "reject"])
def test_a_mark_survives_being_kept_again_and_painted_again(tmp_path: Path, status: str) -> None:
    path = tmp_path / "manifest.jsonl"
    Manifest(path).keep(record())
    append_line(path, msgspec.json.encode(record(status=status)))
    assert Manifest(path).keep(record()).status == status
    assert Manifest(path).keep(record(sha256="another file")).status == status
    assert [(one.status, one.sha256) for one in read_manifest(path)] == [(status, "another file")]


def test_the_same_picture_in_two_arms_is_two_records(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    manifest.keep(record(arm="baseline"))
    manifest.keep(record(arm="target"))
    found = manifest.find("a", "target")
    assert found is not None
    assert found.arm == "target"
    assert len(read_manifest(manifest.path)) == 2


def marked(status: str, *tags: str) -> object:
    return lambda one: msgspec.structs.replace(one, status=status, tags=tags)


def test_a_job_and_a_person_who_write_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    job, person = Manifest(tmp_path / "manifest.jsonl"), Manifest(tmp_path / "manifest.jsonl")
    job.keep(record("a"))
    person.change({("a", None): marked("reject", "x")})  # type: ignore[dict-item]
    assert job.keep(record("a", sha256="painted again")).status == "reject"
    job.keep(record("b"))
    person.change({("b", None): marked("keep")})  # type: ignore[dict-item]
    assert [(one.id, one.status, one.tags, one.sha256) for one in Manifest(tmp_path / "manifest.jsonl").records()] == [
        ("a", "reject", ("x",), "painted again"),
        ("b", "keep", (), "hash of b"),
    ]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["keep", "change", "torn", "anew"]), st.integers(0, 1), st.sampled_from("abc")), max_size=25))
def test_two_writers_always_agree_with_the_file(tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int, str]]) -> None:
    path = tmp_path_factory.mktemp("manifest") / "manifest.jsonl"
    writers = (Manifest(path), Manifest(path))
    expected: dict[str, ImageRecord] = {}
    for number, (act, who, id) in enumerate(acts):
        if act == "keep":
            expected.setdefault(id, record(id))
            assert writers[who].keep(record(id)) == expected[id]
        elif act == "torn":
            with path.open("ab") as file:
                file.write(b'{"id":"a","pa')
        elif act == "anew":
            write_manifest(path, list(expected.values()))
        elif id in expected:
            writers[who].change({(id, None): marked("keep", f"t{number}")})  # type: ignore[dict-item]
            expected[id] = msgspec.structs.replace(expected[id], status="keep", tags=(f"t{number}",))
        assert read_manifest(path) == list(expected.values())
    for writer in writers:
        writer.refresh()
        assert writer.records() == list(expected.values())


def test_an_unknown_picture_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    manifest.keep(record("a"))
    before = manifest.path.read_bytes()
    with pytest.raises(NegError) as refused:
        manifest.change({("a", None): marked("keep"), ("z", None): marked("keep")})  # type: ignore[dict-item]
    assert refused.value.detail.code == "not_found"
    assert manifest.path.read_bytes() == before


def test_a_full_disk_marks_nothing_and_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    manifest.keep(record("a"))
    before = manifest.path.read_bytes()
    write = module.os.write
    monkeypatch.setattr(module.os, "write", lambda descriptor, content: write(descriptor, content[:20]))
    with pytest.raises(NegError) as refused:
        manifest.change({("a", None): marked("keep")})  # type: ignore[dict-item]
    assert refused.value.detail.code == "disk_full"
    assert manifest.path.read_bytes() == before


def test_a_manifest_full_of_dead_lines_is_written_anew_and_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DEAD_LINES", 5)
    person, job = Manifest(tmp_path / "manifest.jsonl"), Manifest(tmp_path / "manifest.jsonl")
    job.keep(record("a"))
    for number in range(20):
        person.change({("a", None): marked("keep", f"t{number}")})  # type: ignore[dict-item]
        assert len(person.path.read_bytes().splitlines()) <= 9
    job.keep(record("b"))
    assert [(one.id, one.tags) for one in read_manifest(person.path)] == [("a", ("t19",)), ("b", ())]


def test_a_link_or_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    module.os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(NegError, match="plain file"):
            Manifest(tmp_path / name)
    assert (tmp_path / "elsewhere").read_text() == "mine"
