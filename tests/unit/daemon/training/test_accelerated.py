import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
import torch.distributed as dist
from accelerate.utils import environment
from objective import bench

from daemon.training.accelerated import PeerLost, accelerated, add_up, own_micro_steps, told_by_first

CHANGES: dict[str, Any] = {"gradient_accumulation_steps": 3, "lr_scheduler": "constant", "lora_dropout": 0.2}
CPU = torch.device("cpu")
LEAVING = """
import os, sys, torch
from pathlib import Path
from daemon.training.accelerated import accelerated, add_up, told_by_first
with accelerated(torch.device("cpu"), torch.float32, 1, 2, Path(sys.argv[1])) as accelerator:
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor(3.0)]
    assert told_by_first(accelerator, 0.0) == 0.1
    add_up(accelerator, tensors)
    os._exit(0)
"""


def test_alone_everything_is_its_own() -> None:
    tensor = torch.tensor([1.0, 2.0])
    with accelerated(CPU, torch.float32) as accelerator:
        add_up(accelerator, [tensor])
        assert (list(own_micro_steps(accelerator, 3)), told_by_first(accelerator, 0.1)) == ([0, 1, 2], 0.1)
    assert tensor.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_it_computes_where_the_model_lies_in_its_precision(dtype: torch.dtype) -> None:
    """One after another: what accelerate knows of one training is not carried over to the next."""
    with accelerated(CPU, dtype) as accelerator:
        assert (accelerator.device, accelerator.num_processes) == (CPU, 1)
        with accelerator.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    with pytest.raises(ValueError, match="initialize your accelerator"), accelerator.autocast():
        pass


def test_on_a_gpu_that_another_stands_beside_it_stays_where_the_model_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs of a kind that accelerate refuses, as torch would show them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(environment, "get_gpu_info", lambda: (["NVIDIA GeForce RTX 4090"] * 2, 2))
    monkeypatch.setattr(environment, "get_driver_version", lambda: "500.0")
    with accelerated(torch.device("cuda:0"), torch.float16) as accelerator:
        assert (accelerator.device, accelerator.num_processes, accelerator.mixed_precision) == (torch.device("cuda:0"), 1, "fp16")


def test_the_environment_and_the_threads_are_left_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where something else, e.g. a queue system, said there are many processes."""
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    before, num_threads = dict(os.environ), torch.get_num_threads()
    with accelerated(CPU, torch.float32) as accelerator:
        assert accelerator.num_processes == 1
        assert (dict(os.environ), torch.get_num_threads()) == (before, num_threads)


def test_micro_steps_are_shared_out_without_rest() -> None:
    for num_micro_steps in (1, 2, 3, 4, 7):
        ranks = [SimpleNamespace(process_index=rank, num_processes=3) for rank in range(3)]
        shares = [own_micro_steps(rank, num_micro_steps) for rank in ranks]  # type: ignore[arg-type]
        assert sorted(step for share in shares for step in share) == list(range(num_micro_steps))


def test_sums_are_shared_and_a_peer_that_leaves_is_noticed_at_once(tmp_path: Path) -> None:
    before, num_threads = dict(os.environ), torch.get_num_threads()
    # Twice in one process: a worker trains again, with others.
    for path in (tmp_path / "first", tmp_path / "second"):
        other = subprocess.Popen([sys.executable, "-c", LEAVING, str(path)])
        tensors = [torch.tensor([10.0, 20.0]), torch.tensor(30.0)]
        with accelerated(CPU, torch.float32, 0, 2, path) as accelerator:
            assert told_by_first(accelerator, 0.1) == 0.1
            add_up(accelerator, tensors)
            other.wait()
            with pytest.raises(PeerLost):
                add_up(accelerator, tensors)
        assert not dist.is_initialized()
        assert [tensor.tolist() for tensor in tensors] == [[11.0, 22.0], 33.0]
    assert {**os.environ, "GLOO_SOCKET_IFNAME": ""} == {**before, "GLOO_SOCKET_IFNAME": ""}
    assert torch.get_num_threads() == num_threads


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    path = tmp_path / "changes.json"
    path.write_bytes(msgspec.json.encode(CHANGES))
    processes = [subprocess.Popen([sys.executable, bench.__file__, str(path), str(rank), "2"], stdout=subprocess.PIPE) for rank in range(2)]
    first, second = (json.loads(process.communicate(timeout=200)[0]) for process in processes)
    wanted = bench.trained(tmp_path, CHANGES)
    assert first == second
    assert first["losses"] == pytest.approx(wanted["losses"], rel=1e-5)
    assert first["norms"] == pytest.approx(wanted["norms"], rel=1e-4)
    assert first["total"] == pytest.approx(wanted["total"], rel=1e-4)
