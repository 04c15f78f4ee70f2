"""The build's command line: stages, ranks, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.toy import build


def test_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no stage is called polish"):
        build.main(["--work-dir", str(tmp_path), "--stages", "polish"])


def test_every_stage_that_trains_has_its_plan() -> None:
    options = build.parser().parse_args([])
    plans = [build.plan_for(options, stage) for stage in ("vae", "probe", "base", "refiner")]
    assert [plan.name for plan in plans] == ["vae", "probe", "base", "refiner"]
    assert all(0 < plan.tail_steps <= plan.num_steps for plan in plans)


def test_pictures_are_drawn_once(tmp_path: Path) -> None:
    arguments = ["--work-dir", str(tmp_path), "--stages", "pictures", "--num-pictures", "3"]
    build.main(arguments)
    drawn = (tmp_path / "pictures.npy").stat().st_mtime_ns
    build.main(arguments)
    assert (tmp_path / "pictures.npy").stat().st_mtime_ns == drawn


def test_a_failing_rank_stops_the_build_in_words(tmp_path: Path) -> None:
    """There are no pictures to train on."""
    with pytest.raises(SystemExit, match="stage vae failed"):
        build.main(["--work-dir", str(tmp_path), "--stages", "vae", "--num-processes", "1"])


def test_a_rank_ends_when_the_build_is_killed() -> None:
    program = "from daemon.toy.build import _end_with_parent; _end_with_parent(); import time; print('up', flush=True); time.sleep(600)"
    rank = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert rank.stdin is not None
    assert rank.stdout is not None
    assert rank.stdout.readline() == b"up\n"
    rank.stdin.close()  # what the kernel does when the parent dies
    try:
        assert rank.wait(timeout=60) == 1
    finally:
        if rank.poll() is None:
            os.kill(rank.pid, signal.SIGKILL)
        rank.stdout.close()
