import hashlib
import json
from pathlib import Path

import msgspec
import pytest
from tiny_sdxl import IDENTITY, SPEC, make_job

from daemon.training.adapters.export import adapter_metadata, find_finished, make_record, read_record, save_adapter
from daemon.training.data.dataset import Dataset, TrainingImage
from daemon.training.monitoring.metrics import Point
from daemon.training.plan import TrainingPlan, fingerprint

DATASET = Dataset((TrainingImage(Path("a.png"), "a" * 64, (32, 32)),))


def make_plan(session_path: Path, **changes: object) -> TrainingPlan:
    job = make_job(**changes)
    return TrainingPlan(job, "j", session_path, DATASET, IDENTITY, fingerprint(job.training, DATASET.sha256, IDENTITY))


def save(plan: TrainingPlan, content: bytes) -> object:
    points = [Point(step, float(step), 1e-4, 1.0) for step in range(1, 31)]
    return save_adapter(plan, content, make_record(plan, content, 7, points, {"torch": "1"}, True))


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
        plan.adapter_path.rename(tmp_path / "adapters" / "ours")
        for name in ("pytorch_lora_weights.safetensors", "training.json"):
            (tmp_path / "adapters" / "ours" / name).unlink()
        (tmp_path / "adapters" / "ours").rmdir()
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


def test_metadata_tells_the_origin_and_no_dates_or_names(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, lora_alpha=8.0)
    metadata = adapter_metadata(plan, {"r": 4, "lora_alpha": 8.0})
    assert json.loads(metadata["lora_adapter_metadata"]) == {"unet.r": 4, "unet.lora_alpha": 8.0}
    assert metadata["negtui.instance_prompt"] == "wrong"
    assert metadata["negtui.base_sha256"] == IDENTITY.base_sha256
    assert metadata["negtui.dataset_sha256"] == DATASET.sha256
    settings = json.loads(metadata["negtui.settings"])
    assert settings["lora_alpha"] == 8.0
    assert settings["max_train_steps"] == SPEC.max_train_steps
    assert (
        adapter_metadata(make_plan(tmp_path, lora_alpha=8.0, output_name="other", checkpointing_steps=1), {"r": 4, "lora_alpha": 8.0})
        == metadata
    )


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    for content in (b"", b"{}", b"\xff"):
        (tmp_path / "training.json").write_bytes(content)
        assert read_record(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        (tmp_path / "nothing").read_bytes()
