import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.front.lock import Lock
from daemon.protocol.errors import NegError

HOLDER = """
import sys, time
from pathlib import Path
from daemon.front.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_lock_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    with pytest.raises(NegError, match=str(os.getpid())) as refused:
        Lock(tmp_path / "lock")
    assert refused.value.detail.code == "busy"
    lock.release()
    Lock(tmp_path / "lock").release()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(NegError):
            Lock(tmp_path / "lock")
        holder.kill()
    Lock(tmp_path / "lock").release()


def test_a_vanished_lock_file_is_taken_again_unless_another_did(tmp_path: Path) -> None:
    first = Lock(tmp_path / "lock")
    first.ensure_held()
    (tmp_path / "lock").unlink()
    first.ensure_held()
    with pytest.raises(NegError):
        Lock(tmp_path / "lock")
    (tmp_path / "lock").unlink()
    second = Lock(tmp_path / "lock")
    with pytest.raises(NegError):
        first.ensure_held()
    first.release()
    second.release()


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        Lock(tmp_path / "lock")
