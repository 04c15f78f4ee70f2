import asyncio
import os
import signal
from pathlib import Path

import pytest

from daemon.config import places
from daemon.protocol.errors import NegError
from negtui import launch
from negtui.launch import ensure_daemon
from negtui.line import is_listening


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGTUI_RUNTIME", str(tmp_path / "r"))
    monkeypatch.setenv("NEGTUI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NEGTUI_BALLAST_MIB", "1")
    monkeypatch.setenv("NEGTUI_MIN_FREE_MIB", "1")


def test_a_daemon_is_started_once_by_however_many(tmp_path: Path) -> None:
    found = places(tmp_path)
    num_before = len(launch._started)

    async def scene() -> list[bool]:
        return await asyncio.gather(*(ensure_daemon(found) for _ in range(3)))

    try:
        asyncio.run(scene())
        assert is_listening(found.ctl_endpoint)
        assert asyncio.run(ensure_daemon(found)) is False
    finally:
        # Those that lost the race may still be on their way to the lock.
        running = int(found.lock_path.read_text())
        losers = [process for process in launch._started[num_before:] if process.pid != running]
        assert all(process.wait(timeout=30) == launch.ANOTHER_RUNS for process in losers)
        os.kill(running, signal.SIGKILL)


def test_a_daemon_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    found = places(tmp_path)
    found.state_path.mkdir(parents=True, exist_ok=True)
    found.database_path.write_bytes(b"this is no database, but long enough to be looked at" * 100)
    with pytest.raises(NegError, match=r"exit code 78") as failed:
        asyncio.run(ensure_daemon(found))
    assert "neg.db" in failed.value.detail.message
    assert "negd.log" in failed.value.detail.hint
