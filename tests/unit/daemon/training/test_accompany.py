import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "daemon.training.accompany"]


def test_it_ends_with_the_first_process_also_while_it_still_starts(tmp_path: Path) -> None:
    # Of what it would take part in there is nothing: had it looked, it would have ended with 1.
    found = subprocess.run([*COMMAND, str(tmp_path), "1"], stdin=subprocess.DEVNULL, timeout=200)
    assert (found.returncode, list(tmp_path.iterdir())) == (0, [])


def test_else_it_ends_as_its_part_does(tmp_path: Path) -> None:
    with subprocess.Popen([*COMMAND, str(tmp_path), "1"], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        told = process.stderr.read().decode()
        assert (process.wait(), "Process 2 of the training failed." in told) == (1, True)
