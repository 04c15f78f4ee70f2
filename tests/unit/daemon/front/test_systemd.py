import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.front import systemd


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield line


def test_readiness_is_one_datagram(line: socket.socket) -> None:
    assert systemd.notify("READY=1")
    assert line.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not systemd.notify("READY=1")


def test_the_watchdog_is_fed_only_after_a_sign_of_life(line: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    answers = 0

    async def scene() -> None:
        async def is_alive() -> None:
            nonlocal answers
            answers += 1
            if answers > 3:
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await systemd.feed_watchdog(is_alive)

    asyncio.run(scene())
    line.setblocking(False)
    assert [line.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    with pytest.raises(BlockingIOError):
        line.recv(100)


@pytest.mark.parametrize(("usec", "pid", "expected"), [("", "", None), ("x", "", None), ("4000000", "", 2.0), ("4000000", "1", None)])
def test_how_often(monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, expected: float | None) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert systemd.watchdog_seconds() == expected
