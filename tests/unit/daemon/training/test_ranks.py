import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from objective import bench

from daemon.training.ranks import Ranks

CHANGES: dict[str, Any] = {"gradient_accumulation_steps": 3, "lr_scheduler": "constant", "lora_dropout": 0.2}


def test_alone_everything_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # A rank without a world, as some schedulers of clusters leave it.
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    ranks, tensor = Ranks("cpu"), torch.tensor([1.0, 2.0])
    ranks.add_up([tensor])
    assert (ranks.rank, ranks.num_processes, list(ranks.share(3)), tensor.tolist()) == (0, 1, [0, 1, 2], [1.0, 2.0])


def test_micro_steps_are_shared_out_without_rest() -> None:
    ranks = [Ranks("cpu") for _ in range(3)]
    for rank, one in enumerate(ranks):
        one.rank, one.num_processes = rank, 3
    for num_micro_steps in (1, 2, 3, 4, 7):
        assert sorted(step for one in ranks for step in one.share(num_micro_steps)) == list(range(num_micro_steps))


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    path = tmp_path / "changes.json"
    path.write_bytes(msgspec.json.encode(CHANGES))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, bench.__file__, str(path)],
            stdout=subprocess.PIPE,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"},
        )
        for rank in range(2)
    ]
    first, second = (json.loads(process.communicate(timeout=200)[0]) for process in processes)
    wanted = bench.trained(tmp_path, CHANGES)
    assert first == second
    assert first["losses"] == pytest.approx(wanted["losses"], rel=1e-5)
    assert first["norms"] == pytest.approx(wanted["norms"], rel=1e-4)
    assert first["total"] == pytest.approx(wanted["total"], rel=1e-4)
