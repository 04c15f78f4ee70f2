"""kill -9 of trainings across their options: curve, samples and adapter end as the undisturbed run's, bit for bit, every time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.workshop import ROOT, seeded

PROGRAM = Path(__file__).with_name("killed_trainings.py")
TINY_SDXL = ROOT / "tests" / "unit" / "daemon" / "training"


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("num_kills", [2, pytest.param(200, marks=pytest.mark.full)])
def test_killed_at_random_moments_it_ends_bit_for_bit_the_same(tmp_path: Path, num_kills: int) -> None:
    seed = seeded("training kills").getrandbits(32)
    command = [sys.executable, PROGRAM, tmp_path, str(seed), str(num_kills)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(TINY_SDXL)))}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    runs = [line.split(" ", 3) for line in done.stdout.splitlines()]
    print(f"{sum(int(hits) for _, _, hits, _ in runs)} kills over {len(runs)} trainings")
    assert not [drawn for undisturbed, killed, _, drawn in runs if undisturbed != killed]
    assert sum(int(hits) for _, _, hits, _ in runs) == num_kills
