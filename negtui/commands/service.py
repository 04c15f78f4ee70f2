"""`status`, `daemon start|stop|status`, and `negtui` without a command."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import time
from collections import Counter

from daemon.config import places
from daemon.protocol.commands import Drain, Draining, Jobs, ListJobs, Ping, Pong
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobRow
from negtui.commands.exits import OK
from negtui.commands.invocation import Daemon, Invocation, Unreachable, ask
from negtui.commands.jobs import jobs_table
from negtui.output import Output

_STOP_SECONDS = 60.0


async def status(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui status`, `negtui daemon status`"""
    async with invocation.daemon(start=False) as daemon:
        await _print_status(daemon, invocation.output)
    return OK


async def overview(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui`: the status, if there is a daemon, and the help."""
    try:
        async with invocation.daemon(start=False) as daemon:
            await _print_status(daemon, invocation.output)
    except Unreachable as error:
        invocation.output.object({"daemon": None})
        invocation.output.line(f"{error.detail.message} It is started when needed.")
    invocation.output.line()
    invocation.output.line(arguments.help_text)
    return OK


async def start(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui daemon start`"""
    async with invocation.daemon(start=True) as daemon:
        welcome = daemon.welcome
    invocation.output.object({"daemon": welcome})
    invocation.output.result(f"The daemon runs: pid {welcome.pid}, version {welcome.version}, sessions in {welcome.sessions_path}")
    if not invocation.settings.connect:
        invocation.output.line(f"Its log: {places(invocation.settings.workspace).log_path}")
    return OK


async def stop(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui daemon stop`"""
    output = invocation.output
    try:
        async with invocation.daemon(start=False) as daemon:
            await ask(daemon, Drain(), Draining)
    except Unreachable as error:
        output.object({"stopped": True, "ran": False})
        output.result(error.detail.message)
        return OK
    if invocation.settings.connect:
        output.object({"stopped": False, "draining": True})
        output.result("The daemon stops at its running job's next step.")
        return OK
    output.line("The daemon stops at its running job's next step ...")
    await _wait_for_end(invocation)
    output.object({"stopped": True, "ran": True})
    output.result("The daemon has stopped. Its jobs go on when it is started again.")
    return OK


async def _wait_for_end(invocation: Invocation) -> None:
    """Until the daemon's lock is free."""
    lock_path = places(invocation.settings.workspace).lock_path
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            descriptor = os.open(lock_path, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            await asyncio.sleep(0.05)
        finally:
            os.close(descriptor)
    raise NegError("busy", f"The daemon has not stopped within {_STOP_SECONDS:.0f} s.", "Its log says why; ask again.", retryable=True)


async def _print_status(daemon: Daemon, output: Output) -> None:
    pong = await ask(daemon, Ping(), Pong)
    rows = (await ask(daemon, ListJobs(), Jobs)).jobs
    welcome = daemon.welcome
    counts = Counter(row.state for row in rows)
    output.object({"daemon": welcome, "workers": pong.workers, "loop_lag_seconds": pong.loop_lag_seconds, "jobs": dict(counts)})
    output.result(f"Daemon    pid {welcome.pid}, version {welcome.version}")
    output.result(f"Sessions  {welcome.sessions_path}")
    output.result(f"Workers   {', '.join(f'{name} {state}' for name, state in sorted(pong.workers.items())) or 'none started yet'}")
    output.result(f"Jobs      {', '.join(f'{number} {state}' for state, number in sorted(counts.items())) or 'none'}")
    active = tuple(row for row in rows if _is_open(row))
    if active:
        output.line()
        for line in jobs_table(active):
            output.line(line)


def _is_open(row: JobRow) -> bool:
    return row.state not in ("done", "failed", "cancelled")
