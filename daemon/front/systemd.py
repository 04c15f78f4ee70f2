"""Telling systemd that the daemon is ready and alive (`sd_notify`: one datagram). Nothing happens where systemd did not start it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable


def notify(message: str) -> bool:
    """Send e.g. `READY=1` to `NOTIFY_SOCKET`; whether there was one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.connect(address)
        line.sendall(message.encode())
    return True


def watchdog_seconds() -> float | None:
    """How often systemd wants a sign of life, halved; None: not at all."""
    period = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", "")
    if not period.isdigit() or (owner and owner != str(os.getpid())):
        return None
    return int(period) / 2e6


async def feed_watchdog(is_alive: Callable[[], Awaitable[object]]) -> None:
    """Give signs of life for ever, each only after `is_alive()` (the store's thread) answered."""
    period = watchdog_seconds()
    while period is not None:
        await is_alive()
        notify("WATCHDOG=1")
        await asyncio.sleep(period)
