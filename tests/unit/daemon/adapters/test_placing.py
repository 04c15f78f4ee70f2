import dataclasses
import errno
import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest

from daemon.adapters import placing
from daemon.adapters.placing import Origin, Place, find_finished, read_origin, save
from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved

WEIGHTS = "pytorch_lora_weights.safetensors"


def place(session_path: Path, fingerprint: str = "1" * 64, **changes: str) -> Place:
    return dataclasses.replace(Place("j", "mine", session_path, "wrong", fingerprint), **changes)


def put(there: Place, content: bytes, record_name: str = "training.json") -> AdapterSaved:
    origin = Origin(fingerprint=there.fingerprint, adapter_sha256=hashlib.sha256(content).hexdigest())
    return save(there, {there.weights_name: content, "wrong_kohya.safetensors": b"kohya"}, "# wrong\n", record_name, origin)


def folders(session_path: Path) -> list[str]:
    return sorted(path.name for path in (session_path / "adapters").iterdir())


def find(there: Place) -> tuple[AdapterSaved | None, list[str]]:
    warnings: list[str] = []
    return find_finished(there, warnings.append), warnings


def test_a_saved_adapter_is_found_again(tmp_path: Path) -> None:
    there = place(tmp_path)
    assert find(there) == (None, [])
    saved = put(there, b"weights")
    assert (saved.path, saved.num_bytes, saved.reused) == (f"adapters/wrong/{WEIGHTS}", 7, False)
    assert find(there) == (msgspec.structs.replace(saved, reused=True), [])
    assert sorted(path.name for path in there.path.iterdir()) == ["README.md", WEIGHTS, "training.json", "wrong_kohya.safetensors"]


def test_an_adapter_of_another_origin_is_moved_aside_and_comes_back(tmp_path: Path) -> None:
    first, second = place(tmp_path), place(tmp_path, "2" * 64)
    put(first, b"first")
    assert find(second) == (None, [])
    assert folders(tmp_path) == ["wrong"]
    put(second, b"second", "merging.json")
    assert folders(tmp_path) == ["wrong", "wrong.11111111"]
    found, warnings = find(first)
    assert found is not None
    assert found.reused
    assert not warnings
    assert (first.path / WEIGHTS).read_bytes() == b"first"
    assert folders(tmp_path) == ["wrong", "wrong.22222222"]


def test_a_swap_that_was_cut_in_the_middle_is_finished(tmp_path: Path) -> None:
    first, second = place(tmp_path), place(tmp_path, "2" * 64)
    put(first, b"first")
    put(second, b"second")
    second.path.rename(tmp_path / "adapters" / "wrong.22222222")
    assert find(first)[0] is not None
    assert folders(tmp_path) == ["wrong", "wrong.22222222"]


def test_somebody_elses_adapter_is_never_overwritten(tmp_path: Path) -> None:
    there = place(tmp_path)
    for content in (b"one", b"two", None, None):
        there.path.mkdir(parents=True)
        if content is not None:
            (there.path / WEIGHTS).write_bytes(content)
        assert find(there) == (None, [])
        put(there, b"ours")
        shutil.rmtree(there.path)
    assert len(folders(tmp_path)) == 4
    assert "wrong.unknown" in folders(tmp_path)
    assert "wrong.unknown.2" in folders(tmp_path)


def test_damaged_weights_are_told_and_not_reused(tmp_path: Path) -> None:
    there = place(tmp_path)
    put(there, b"weights")
    (there.path / WEIGHTS).write_bytes(b"weightz")
    found, warnings = find(there)
    assert found is None
    assert len(warnings) == 1
    assert "is not the file that was made" in warnings[0]
    assert folders(tmp_path) == [f"wrong.{hashlib.sha256(b'weightz').hexdigest()[:8]}"]
    put(there, b"weights")
    assert find(there)[0] is not None


def test_names_moved_aside_stay_names(tmp_path: Path) -> None:
    for number in "123":
        put(place(tmp_path, number * 64, name="n" * 63), number.encode())
    assert all(len(found) <= 63 for found in folders(tmp_path))
    assert len(folders(tmp_path)) == 3


def test_an_adapter_that_cannot_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes, **options: object) -> None:
        if path.name == "README.md":
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(placing, "write_atomic", full)
    with pytest.raises(NegError, match="No room left"):
        put(place(tmp_path), b"weights")
    assert list((tmp_path / "adapters").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_record_that_cannot_be_read_tells_no_origin(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "training.json").write_bytes(content)
    assert read_origin(tmp_path) is None
