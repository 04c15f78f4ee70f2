"""A bound on the front's own memory: what a peer makes it hold must end it, not the machine. The worker lifts it for itself (`worker.py`).

ZeroMQ bounds a frame, not how many a message has, so that a peer of the same user can make the front hold any number of them. Ended by this
limit it costs little: it is started again, and jobs go on from what is on disk.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

from daemon.protocol.errors import NegError

DEFAULT_MIB = 2048
LEAST_MIB, MOST_MIB = 256, 2**40


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """Bound private memory (`RLIMIT_DATA`, soft) by `NEGTUI_FRONT_MEMORY_MIB`, 2 GiB by default; a tighter bound stays.

    Raises `NegError` `invalid` where the variable is no such number.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = min(limit for limit in (_wanted_bytes(), soft, hard) if limit != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _wanted_bytes() -> int:
    text = os.environ.get("NEGTUI_FRONT_MEMORY_MIB", str(DEFAULT_MIB))
    if text.isdecimal() and LEAST_MIB <= int(text[:20]) <= MOST_MIB:
        return int(text) * 2**20
    raise NegError("invalid", f"NEGTUI_FRONT_MEMORY_MIB is {text!r}.", f"Set it to a whole number of MiB, {LEAST_MIB} or more.")
