from pathlib import Path
from typing import Any

import msgspec
import pytest
from parents import BOTH, WEIGHTS, context, merge_job, save_parent
from tiny_sdxl import make_parts

from daemon.files import sha256_file
from daemon.merging.recipe import merge
from daemon.merging.telling import MergeRecord
from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved, DurableEvent, Logged


def run(session_path: Path, parts: Any, **changes: Any) -> list[DurableEvent]:
    return list(merge(merge_job(**changes), context(session_path, parts)))


@pytest.fixture
def session_path(tmp_path: Path, parts: Any) -> Path:
    save_parent(tmp_path, parts, "wrong", 1)
    save_parent(tmp_path, parts, "subject", 2)
    return tmp_path


def test_it_is_made_once_and_told_again(session_path: Path, parts: Any) -> None:
    (saved,) = run(session_path, parts)
    assert isinstance(saved, AdapterSaved)
    assert (saved.name, saved.path, saved.reused) == ("merged", f"adapters/merged/{WEIGHTS}", False)
    folder = session_path / "adapters" / "merged"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "merged_kohya.safetensors", "merging.json", WEIGHTS]
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    there = context(session_path, parts)
    assert list(merge(merge_job(), there)) == [msgspec.structs.replace(saved, reused=True)]
    assert there.engine.num_borrowed == 0  # type: ignore[attr-defined]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_same_parents_give_the_same_file_in_another_session(session_path: Path, parts: Any, tmp_path_factory: Any) -> None:
    (saved,) = run(session_path, parts, combination_type="dare_linear", density=0.5)
    other = tmp_path_factory.mktemp("other")
    fresh = make_parts()
    for number, name in enumerate(("wrong", "subject"), 1):
        save_parent(other, fresh, name, number)
    (again,) = run(other, fresh, combination_type="dare_linear", density=0.5)
    assert isinstance(saved, AdapterSaved)
    assert isinstance(again, AdapterSaved)
    assert again.sha256 == saved.sha256


def test_other_weights_take_the_name_and_the_first_comes_back(session_path: Path, parts: Any) -> None:
    run(session_path, parts)
    heavier = (BOTH[0], msgspec.structs.replace(BOTH[1], weight=1.0))
    run(session_path, parts, adapters=heavier)
    assert len(list((session_path / "adapters").glob("merged*"))) == 2
    there = context(session_path, parts)
    (back,) = merge(merge_job(), there)
    assert isinstance(back, AdapterSaved)
    assert back.reused


def test_a_damaged_file_is_told_and_made_again(session_path: Path, parts: Any) -> None:
    (saved,) = run(session_path, parts)
    path = session_path / "adapters" / "merged" / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    warned, again = run(session_path, parts)
    assert isinstance(warned, Logged)
    assert again == saved


def test_the_record_tells_the_parents(session_path: Path, parts: Any) -> None:
    run(session_path, parts, combination_type="ties", density=0.5)
    folder = session_path / "adapters" / "merged"
    record = msgspec.json.decode((folder / "merging.json").read_bytes(), type=MergeRecord)
    assert [parent.sha256 for parent in record.parents] == [sha256_file(session_path / "adapters" / one.name / WEIGHTS) for one in BOTH]
    assert record.ranks == {"unet": 4}
    assert record.adapter_sha256 == sha256_file(folder / WEIGHTS)


def test_ranks_that_differ_are_said_before_anything_is_written(session_path: Path, parts: Any) -> None:
    save_parent(session_path, parts, "wide", 3, rank=8)
    with pytest.raises(NegError, match=r"linear needs adapters of one rank.*wrong 4, wide 8"):
        run(session_path, parts, adapters=(BOTH[0], msgspec.structs.replace(BOTH[1], name="wide")), combination_type="linear")
    assert not (session_path / "adapters" / "merged").exists()
