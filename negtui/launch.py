"""Starting the workspace's daemon when none runs: detached, with a log file; quitting the client never stops it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from daemon.config import Places
from daemon.protocol.errors import NegError
from negtui.line import is_listening

START_SECONDS = 30.0
POLL_SECONDS = 0.02
ANOTHER_RUNS = 69
NUM_LOG_LINES = 12

_started: list[subprocess.Popen[bytes]] = []
"""Never waited for: they outlive this process."""


async def ensure_daemon(places: Places, seconds: float = START_SECONDS) -> bool:
    """Start a daemon for `places` unless one listens; returns whether it had to. Raises `NegError` with its last words if it ends."""
    if is_listening(places.ctl_endpoint):
        return False
    process = _start(places)
    until = time.monotonic() + seconds
    while not is_listening(places.ctl_endpoint):
        code = process.poll()
        # Another client may have started one at the same moment: that one will do.
        if code is not None and code != ANOTHER_RUNS:
            raise _failed(places, f"The daemon ended at once (exit code {code}).")
        if time.monotonic() > until:
            raise _failed(places, f"The daemon did not start within {seconds:g} s.")
        await asyncio.sleep(POLL_SECONDS)
    return True


def _start(places: Places) -> subprocess.Popen[bytes]:
    places.log_path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    with places.log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "daemon.front.serve", "run", "--workspace", str(places.workspace)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _started.append(process)
    return process


def _failed(places: Places, message: str) -> NegError:
    """What happened, with the last lines of the log."""
    try:
        lines = places.log_path.read_text(errors="replace").splitlines()[-NUM_LOG_LINES:]
    except OSError:
        lines = []
    return NegError("internal", "\n  ".join([message, *lines]), f"Log: {places.log_path}")
