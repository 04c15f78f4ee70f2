"""`jobs`, `cancel`, `pause`, `resume`, `prioritise`; and the orders to a running training: `sample`, `checkpoint`, `keep`, `lr`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime

from daemon.protocol.commands import AnyCommand, Cancel, JobAnswer, Jobs, ListJobs, Pause, Prioritise, Resume, Steer
from daemon.protocol.events import JobRow
from daemon.protocol.orders import Checkpoint, LearningRate, Order, Sample, StopAndKeep
from negtui import wording
from negtui.commands.exits import OK
from negtui.commands.invocation import Invocation, ask, find_job, session_name
from negtui.output import duration, table


async def list_jobs(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui jobs [--session S]`"""
    session = session_name(arguments.session) if arguments.session else None
    async with invocation.daemon() as daemon:
        rows = (await ask(daemon, ListJobs(session=session, limit=max(1, min(arguments.limit, 10_000))), Jobs)).jobs
    invocation.output.object({"jobs": rows})
    for line in jobs_table(rows) if rows else ["There are no jobs. `negtui run toy` makes some."]:
        invocation.output.result(line)
    return OK


async def cancel(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui cancel JOB`"""
    return await _steer(arguments.job, invocation, lambda job_id: Cancel(job_id=job_id))


async def pause(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui pause JOB`"""
    return await _steer(arguments.job, invocation, lambda job_id: Pause(job_id=job_id))


async def resume(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui resume JOB`"""
    return await _steer(arguments.job, invocation, lambda job_id: Resume(job_id=job_id))


async def prioritise(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui prioritise JOB N`"""
    return await _steer(arguments.job, invocation, lambda job_id: Prioritise(job_id=job_id, priority=arguments.priority))


async def sample(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui sample JOB`"""
    return await _order(arguments.job, invocation, Sample(), "paints sample pictures at its next step")


async def checkpoint(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui checkpoint JOB`"""
    return await _order(arguments.job, invocation, Checkpoint(), "writes a checkpoint at its next step")


async def keep(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui keep JOB`"""
    return await _order(arguments.job, invocation, StopAndKeep(), "ends at its next step and keeps its adapter")


async def learning_rate(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui lr JOB RATE`"""
    value = arguments.learning_rate
    return await _order(arguments.job, invocation, LearningRate(value=value), f"has learning_rate {value:g} from its next step on")


def jobs_table(rows: tuple[JobRow, ...]) -> list[str]:
    """Lines of a table of jobs."""
    cells = [
        (
            row.id,
            wording.title(row),
            str(row.priority or ""),
            f"{datetime.fromtimestamp(row.created):%Y-%m-%d %H:%M}",
            duration(row.finished - row.started) if row.started and row.finished else "",
            wording.state(row),
        )
        for row in rows
    ]
    return table(("job", "what", "priority", "made", "took", "state"), cells, right=frozenset({2, 4}))


async def _order(prefix: str, invocation: Invocation, order: Order, words: str) -> int:
    return await _steer(prefix, invocation, lambda job_id: Steer(job_id=job_id, order=order), f"; {words}")


async def _steer(prefix: str, invocation: Invocation, command: Callable[[str], AnyCommand], words: str = "") -> int:
    async with invocation.daemon() as daemon:
        job = await find_job(daemon, prefix)
        row = (await ask(daemon, command(job.id), JobAnswer)).job
    invocation.output.object({"job": row})
    priority = f", priority {row.priority}" if row.priority else ""
    invocation.output.result(f"{wording.title(row)} ({row.id}): {wording.state(row)}{priority}{words}")
    return OK
