import errno
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from daemon.files import sweep_temporary
from daemon.protocol.errors import NegError
from daemon.training.checkpoint import TrainerState, environment, load_checkpoint, save_checkpoint

WHERE = {"torch": "1"}


def make_state(step: int) -> TrainerState:
    draw = torch.Generator().manual_seed(step)
    adapter = {"x.lora_A.weight": torch.randn(2, 3, generator=draw), "x.lora_B.weight": torch.randn(3, 2, generator=draw)}
    moments = {f"{kind}.{name}": weight * 2 for name, weight in adapter.items() for kind in ("exp_avg", "exp_avg_sq")}
    return TrainerState(step, adapter, moments, step - 1, {"scale": 65536.0, "_growth_tracker": 3})


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
    assert all(torch.equal(state.moments[name], weight) for name, weight in expected.moments.items())
    assert (state.num_updates, state.grad_scaler) == (expected.num_updates, expected.grad_scaler)
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


def test_the_environment_names_what_decides_the_last_bits() -> None:
    found = environment("cpu")
    assert found["torch"] == str(torch.__version__)
    assert found["device"] == "cpu"
    assert found["num_threads"] == str(torch.get_num_threads())
