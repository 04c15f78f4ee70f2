import errno
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from daemon.files import sweep_temporary
from daemon.protocol.errors import NegError
from daemon.training.checkpoint import (
    TrainerState,
    best_step,
    environment,
    load_best,
    load_checkpoint,
    mark_best,
    read_checkpoint,
    save_checkpoint,
)
from daemon.training.optimizers.make import OptimizerState

WHERE = {"torch": "1"}


def make_state(step: int) -> TrainerState:
    draw = torch.Generator().manual_seed(step)
    adapter = {"x.lora_A.weight": torch.randn(2, 3, generator=draw), "x.lora_B.weight": torch.randn(3, 2, generator=draw)}
    moments = {f"{kind}.{name}": weight * 2 for name, weight in adapter.items() for kind in ("exp_avg", "exp_avg_sq")}
    moments |= {"step.x.lora_A.weight": torch.tensor(step - 1), "state1.x.lora_A.weight": torch.arange(6, dtype=torch.uint8)}
    remembered = OptimizerState(moments, {"groups": [{"d": 0.1 + 0.2, "d_hat": 1e-310, "train_mode": True}], "numbers": ["step"]})
    return TrainerState(
        step, adapter, remembered, {"scale": 65536.0, "_growth_tracker": 3}, {"early_stopping": {"best": 1 / 3, "waited": 2}}
    )


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        save_checkpoint(folder, make_state(step), "f" * 64, WHERE, True)


def load(folder: Path) -> tuple[int | None, list[str]]:
    warnings: list[str] = []
    found = load_checkpoint(folder, "f" * 64, warnings.append)
    if found is None:
        return None, warnings
    state, record = found
    expected = make_state(state.step)
    assert all(torch.equal(state.adapter[name], weight) for name, weight in expected.adapter.items())
    assert state.optimizer.tensors.keys() == expected.optimizer.tensors.keys()
    for name, tensor in expected.optimizer.tensors.items():
        assert torch.equal(state.optimizer.tensors[name], tensor)
        assert state.optimizer.tensors[name].dtype == tensor.dtype
    found_facts = (state.optimizer.facts, state.grad_scaler, state.facts)
    assert found_facts == (expected.optimizer.facts, expected.grad_scaler, expected.facts)
    assert (record.step, record.environment, record.bit_exact) == (state.step, WHERE, True)
    return state.step, warnings


def test_the_newest_comes_back_whole_and_two_are_kept(tmp_path: Path) -> None:
    assert load(tmp_path / "none") == (None, [])
    save(tmp_path, 8, 90, 100, 1_000_000)
    assert load(tmp_path) == (1_000_000, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000100", "step-1000000"]


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_one_is_told_and_the_one_before_it_used(tmp_path: Path, seed: int) -> None:
    save(tmp_path, 1, 2)
    draw = random.Random(seed)
    path = draw.choice(sorted((tmp_path / "step-000002").iterdir()))
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    match seed % 3:
        case 0:
            content[place] ^= 1 << draw.randrange(8)
        case 1:
            del content[place:]
        case 2:
            path.unlink()
    if path.exists():
        path.write_bytes(content)
    step, warnings = load(tmp_path)
    # A flipped bit in state.json may hit what does not matter to the weights, e.g. white space.
    assert (step, len(warnings)) == (1, 1) or (path.name == "state.json" and seed % 3 == 0)
    if warnings:
        assert "step-000002 is left out" in warnings[0]
        assert not (tmp_path / "step-000002").exists()
        save(tmp_path, 2)
        assert load(tmp_path) == (2, [])


def test_where_all_are_damaged_it_begins_anew(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    for path in tmp_path.rglob("adapter.safetensors"):
        path.write_bytes(b"")
    step, warnings = load(tmp_path)
    assert step is None
    assert len(warnings) == 2


def test_one_of_another_run_or_step_is_not_used(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, make_state(3), "e" * 64, WHERE, True)
    step, warnings = load(tmp_path)
    assert step is None
    assert "belongs to another run" in warnings[0]
    save(tmp_path, 4)
    shutil.copytree(tmp_path / "step-000004", tmp_path / "step-000009")
    assert load(tmp_path)[0] == 4


def test_half_written_ones_do_not_exist(tmp_path: Path) -> None:
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "step-000001", tmp_path / ".tmp-0123")
    (tmp_path / "step-000002.bak").mkdir()
    assert load(tmp_path) == (1, [])
    assert sweep_temporary(tmp_path) == 1


@pytest.mark.parametrize("call", range(1, 4))
def test_a_full_disk_keeps_the_ones_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    save(tmp_path, 1, 2)
    real, count = os.posix_fallocate, iter(range(1, 99))

    def full(*args: int) -> None:
        if next(count) == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args)

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NegError) as caught:
        save(tmp_path, 3)
    assert caught.value.detail.code == "disk_full"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000001", "step-000002"]
    assert load(tmp_path) == (2, [])


def test_the_best_is_kept_beside_the_last_two(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    assert best_step(tmp_path) is None
    mark_best(tmp_path, 1)
    save(tmp_path, 3, 4, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.json", "step-000001", "step-000004", "step-000005"]
    assert best_step(tmp_path) == 1
    found = load_best(tmp_path, "f" * 64, pytest.fail)
    assert found is not None
    assert (found[0].step, load(tmp_path)) == (1, (5, []))
    mark_best(tmp_path, 4)
    mark_best(tmp_path, 4)
    save(tmp_path, 6, 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.json", "step-000004", "step-000006", "step-000007"]


def test_only_a_checkpoint_that_is_there_can_be_the_best(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with pytest.raises(ValueError, match="no checkpoint of step 2"):
        mark_best(tmp_path, 2)
    mark_best(tmp_path, 1)
    for content in (b"", b"{", b"[]", b'{"step": 9}', b'{"step": "1"}', b"\xff"):
        (tmp_path / "best.json").write_bytes(content)
        assert best_step(tmp_path) is None
        assert load_best(tmp_path, "f" * 64, pytest.fail) is None
    save(tmp_path, 2, 3)
    assert load(tmp_path) == (3, [])


def test_a_best_one_that_is_damaged_is_told_and_gone(tmp_path: Path) -> None:
    save(tmp_path, 1)
    mark_best(tmp_path, 1)
    save(tmp_path, 2, 3, 4)
    (tmp_path / "step-000001" / "adapter.safetensors").write_bytes(b"")
    warnings: list[str] = []
    assert load_best(tmp_path, "f" * 64, warnings.append) is None
    assert "step-000001, the best one, is left out" in warnings[0]
    assert best_step(tmp_path) is None
    assert load(tmp_path) == (4, [])


def test_one_may_be_read_whichever_run_it_belongs_to(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, make_state(3), "e" * 64, WHERE, False)
    state, record = read_checkpoint(path)
    assert (state.step, record.fingerprint, record.bit_exact) == (3, "e" * 64, False)


def test_the_environment_names_what_decides_the_last_bits() -> None:
    found = environment("cpu")
    assert found["torch"] == str(torch.__version__)
    assert found["device"] == "cpu"
    assert found["num_threads"] == str(torch.get_num_threads())
    assert environment("cpu", 2) == {**found, "num_processes": "2"}
