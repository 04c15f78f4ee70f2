"""A manifest outlives torn lines, and a person's marks outlive a rerun."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from painting import request

from daemon.manifest import Manifest, append_line, read_manifest, write_manifest
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
