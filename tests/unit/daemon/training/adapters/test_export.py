import errno
import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest
from adapting import make_plan
from tiny_sdxl import SPEC

from daemon.protocol.errors import NegError
from daemon.training.adapters.export import find_finished, init_adapter_sha256, read_record, save_adapter
from daemon.training.adapters.metadata import make_record
from daemon.training.monitoring.metrics import Point
from daemon.training.plan import TrainingPlan

WEIGHTS = "pytorch_lora_weights.safetensors"


def save(plan: TrainingPlan, content: bytes) -> object:
    points = [Point(step, float(step), 1e-4, 1.0) for step in range(1, 31)]
    files = {WEIGHTS: content, "wrong_kohya.safetensors": b"kohya"}
    return save_adapter(plan, files, make_record(plan, files, WEIGHTS, 7, points, {"torch": "1"}, True))


def folders(session_path: Path) -> list[str]:
    return sorted(path.name for path in (session_path / "adapters").iterdir())


def find(plan: TrainingPlan) -> tuple[object, list[str]]:
    warnings: list[str] = []
    return find_finished(plan, warnings.append), warnings


def test_a_saved_adapter_is_found_again(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    assert find(plan) == (None, [])
    saved = save(plan, b"weights")
    assert (saved.path, saved.num_bytes, saved.reused) == ("adapters/wrong/pytorch_lora_weights.safetensors", 7, False)
    assert find(plan) == (msgspec.structs.replace(saved, reused=True), [])
    record = read_record(plan.adapter_path)
    names = ["README.md", "pytorch_lora_weights.safetensors", "training.json", "wrong_kohya.safetensors"]
    assert sorted(path.name for path in plan.adapter_path.iterdir()) == names
    assert record.file_sha256s["wrong_kohya.safetensors"] == hashlib.sha256(b"kohya").hexdigest()
    assert record.spec == plan.spec
    assert (record.loss.first, record.loss.last, record.num_images) == (5.5, 25.5, 1)


def test_an_adapter_of_another_run_is_moved_aside_and_comes_back(tmp_path: Path) -> None:
    first, second = make_plan(tmp_path), make_plan(tmp_path, learning_rate=0.5)
    save(first, b"first")
    assert find(second) == (None, [])
    assert folders(tmp_path) == ["wrong"]
    save(second, b"second")
    assert folders(tmp_path) == ["wrong", f"wrong.{first.fingerprint[:8]}"]
    found, warnings = find(first)
    assert found.reused
    assert not warnings
    assert (first.adapter_path / "pytorch_lora_weights.safetensors").read_bytes() == b"first"
    assert folders(tmp_path) == ["wrong", f"wrong.{second.fingerprint[:8]}"]


def test_a_swap_that_was_cut_in_the_middle_is_finished(tmp_path: Path) -> None:
    first, second = make_plan(tmp_path), make_plan(tmp_path, learning_rate=0.5)
    save(first, b"first")
    save(second, b"second")
    second.adapter_path.rename(tmp_path / "adapters" / f"wrong.{second.fingerprint[:8]}")
    assert find(first)[0].reused
    assert folders(tmp_path) == ["wrong", f"wrong.{second.fingerprint[:8]}"]


def test_somebody_elses_adapter_is_never_overwritten(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    for content in (b"one", b"two", None, None):
        plan.adapter_path.mkdir(parents=True)
        if content is not None:
            (plan.adapter_path / "pytorch_lora_weights.safetensors").write_bytes(content)
        assert find(plan) == (None, [])
        save(plan, b"ours")
        shutil.rmtree(plan.adapter_path)
    assert len(folders(tmp_path)) == 4
    assert "wrong.unknown" in folders(tmp_path)
    assert "wrong.unknown.2" in folders(tmp_path)


def test_damaged_weights_are_told_and_not_reused(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    save(plan, b"weights")
    (plan.adapter_path / "pytorch_lora_weights.safetensors").write_bytes(b"weightz")
    found, warnings = find(plan)
    assert found is None
    assert len(warnings) == 1
    assert "is not the file that was trained" in warnings[0]
    assert folders(tmp_path) == [f"wrong.{hashlib.sha256(b'weightz').hexdigest()[:8]}"]
    save(plan, b"weights")
    assert find(plan)[0].reused


def test_names_moved_aside_stay_names(tmp_path: Path) -> None:
    name = "n" * 63
    save(make_plan(tmp_path, output_name=name), b"first")
    for rate in (0.1, 0.2):
        save(make_plan(tmp_path, output_name=name, learning_rate=rate), b"next")
    assert all(len(found) <= 63 for found in folders(tmp_path))
    assert len(folders(tmp_path)) == 3


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    for content in (b"", b"{}", b"\xff"):
        (tmp_path / "training.json").write_bytes(content)
        assert read_record(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        (tmp_path / "nothing").read_bytes()


def test_an_adapter_that_cannot_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import daemon.training.adapters.export as export

    def full(path: Path, content: bytes, **options: object) -> None:
        if path.name == "README.md":
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(export, "write_atomic", full)
    with pytest.raises(NegError, match="No room left"):
        save(make_plan(tmp_path), b"weights")
    assert list((tmp_path / "adapters").iterdir()) == []


def test_a_learned_embedding_has_its_own_file(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, method="textual_inversion")
    files = {"learned_embeds.safetensors": b"vectors"}
    saved = save_adapter(plan, files, make_record(plan, files, "learned_embeds.safetensors", 7, [], {}, True))
    assert saved.path == "adapters/wrong/learned_embeds.safetensors"
    assert find(plan)[0].reused


def test_the_hash_of_the_beginning(tmp_path: Path) -> None:
    assert init_adapter_sha256(tmp_path, SPEC) is None
    chosen = msgspec.structs.replace(SPEC, init_adapter="wrong")
    with pytest.raises(NegError, match="There is no"):
        init_adapter_sha256(tmp_path, chosen)
    save(make_plan(tmp_path), b"weights")
    assert init_adapter_sha256(tmp_path, chosen) == hashlib.sha256(b"weights").hexdigest()
