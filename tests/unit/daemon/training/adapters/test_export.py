import hashlib
from pathlib import Path

import msgspec
import pytest
from adapting import make_plan
from tiny_sdxl import SPEC

from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved
from daemon.training.adapters.export import find_finished, init_adapter_sha256, read_record, save_adapter
from daemon.training.adapters.metadata import make_record
from daemon.training.monitoring.metrics import Point
from daemon.training.plan import TrainingPlan

WEIGHTS = "pytorch_lora_weights.safetensors"


def save(plan: TrainingPlan, content: bytes) -> AdapterSaved:
    points = [Point(step, float(step), 1e-4, 1.0) for step in range(1, 31)]
    files = {WEIGHTS: content, "wrong_kohya.safetensors": b"kohya"}
    return save_adapter(plan, files, make_record(plan, files, WEIGHTS, 7, points, {"torch": "1"}, True))


def find(plan: TrainingPlan) -> tuple[object, list[str]]:
    warnings: list[str] = []
    return find_finished(plan, warnings.append), warnings


def test_a_saved_adapter_is_found_again_with_its_record(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    saved = save(plan, b"weights")
    assert find(plan) == (msgspec.structs.replace(saved, reused=True), [])
    record = read_record(plan.adapter_path)
    assert record is not None
    assert record.file_sha256s["wrong_kohya.safetensors"] == hashlib.sha256(b"kohya").hexdigest()
    assert record.spec == plan.spec
    assert (record.loss.first, record.loss.last, record.num_images) == (5.5, 25.5, 1)
    assert find(make_plan(tmp_path, learning_rate=0.5)) == (None, [])


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    for content in (b"", b"{}", b"\xff"):
        (tmp_path / "training.json").write_bytes(content)
        assert read_record(tmp_path) is None
    assert read_record(tmp_path / "nothing") is None


def test_a_learned_embedding_has_its_own_file(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, method="textual_inversion")
    files = {"learned_embeds.safetensors": b"vectors"}
    saved = save_adapter(plan, files, make_record(plan, files, "learned_embeds.safetensors", 7, [], {}, True))
    assert saved.path == "adapters/wrong/learned_embeds.safetensors"
    assert find(plan)[0] == msgspec.structs.replace(saved, reused=True)


def test_the_hash_of_the_beginning(tmp_path: Path) -> None:
    assert init_adapter_sha256(tmp_path, SPEC) is None
    chosen = msgspec.structs.replace(SPEC, init_adapter="wrong")
    with pytest.raises(NegError, match="There is no"):
        init_adapter_sha256(tmp_path, chosen)
    save(make_plan(tmp_path), b"weights")
    assert init_adapter_sha256(tmp_path, chosen) == hashlib.sha256(b"weights").hexdigest()
