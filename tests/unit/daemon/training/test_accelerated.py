import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import torch.distributed as dist
from objective import bench

from daemon.training.ranks import PeerLost, Ranks, joined

CHANGES: dict[str, Any] = {"gradient_accumulation_steps": 3, "lr_scheduler": "constant", "lora_dropout": 0.2}
LEAVING = """
import os, sys, torch
from pathlib import Path
from daemon.training.ranks import joined
with joined(1, 2, Path(sys.argv[1])) as ranks:
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor(3.0)]
    assert ranks.told_by_first(0.0) == 0.1
    ranks.add_up(tensors)
    os._exit(0)
"""


def test_alone_everything_is_its_own() -> None:
    ranks, tensor = Ranks(), torch.tensor([1.0, 2.0])
    ranks.add_up([tensor])
    assert (list(ranks.share(3)), tensor.tolist(), ranks.told_by_first(0.1)) == ([0, 1, 2], [1.0, 2.0], 0.1)


def test_micro_steps_are_shared_out_without_rest() -> None:
    for num_micro_steps in (1, 2, 3, 4, 7):
        shares = [Ranks(rank, 3).share(num_micro_steps) for rank in range(3)]
        assert sorted(step for share in shares for step in share) == list(range(num_micro_steps))


def test_sums_are_shared_and_a_peer_that_leaves_is_noticed_at_once(tmp_path: Path) -> None:
    # Twice in one process: a worker trains again, with others.
    for path in (tmp_path / "first", tmp_path / "second"):
        other = subprocess.Popen([sys.executable, "-c", LEAVING, str(path)])
        tensors = [torch.tensor([10.0, 20.0]), torch.tensor(30.0)]
        with joined(0, 2, path) as ranks:
            assert ranks.told_by_first(0.1) == 0.1
            ranks.add_up(tensors)
            other.wait()
            with pytest.raises(PeerLost):
                ranks.add_up(tensors)
        assert not dist.is_initialized()
        assert [tensor.tolist() for tensor in tensors] == [[11.0, 22.0], 33.0]


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
