"""Following jobs to their end: `follow`, `logs`, and what `run` and the acts do after submitting."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from datetime import datetime

from daemon.protocol.commands import Jobs, ListJobs, Ping, Pong
from daemon.protocol.events import AnyEvent, JobRow, JobStateChanged, Preview
from negtui import wording
from negtui.commands.exits import BLOCKED, FAILED, INTERRUPTED, OK
from negtui.commands.invocation import Daemon, Invocation, Told, ask, find_job, stored_events
from negtui.output import Output, duration
from negtui.progress import Progress, progress_for

_ENDED = ("done", "failed", "cancelled")
_STANDING = ("paused", "blocked")


async def follow(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui follow JOB...`"""
    async with invocation.daemon() as daemon:
        ids = [(await find_job(daemon, prefix)).id for prefix in arguments.jobs]
        rows = await follow_jobs(daemon, ids, invocation.output)
    return exit_code(rows)


async def logs(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui logs JOB [-f]`"""
    output = invocation.output
    async with invocation.daemon() as daemon:
        job = await find_job(daemon, arguments.job)
        last = (await ask(daemon, Ping(), Pong)).head_seq
        async for told in stored_events(daemon, job.id):
            last = max(last, told.seq)
            _print_told(told, output)
        if arguments.follow:
            job = (await _rows(daemon, [job.id]))[job.id]
            await _print_until_standing(daemon, job, last, output)
    return OK


async def follow_jobs(daemon: Daemon, ids: Sequence[str], output: Output) -> list[JobRow]:
    """Show the jobs' progress until each is over or stands still; returns their rows in the order of `ids`.

    Cancelled (ctrl+c), it leaves the jobs running and says so.
    """
    try:
        head_seq = (await ask(daemon, Ping(), Pong)).head_seq
        rows = await _rows(daemon, ids)
        with progress_for(output) as progress:
            for row in rows.values():
                output.object({"job": row})
                _show_row(progress, row, is_new=True)
            if not _all_settled(rows):
                await _follow(daemon, rows, head_seq, output, progress)
    except asyncio.CancelledError:
        output.note(f"\nThe {'job goes' if len(ids) == 1 else 'jobs go'} on. To follow again: negtui follow {' '.join(ids)}")
        raise
    return [rows[job_id] for job_id in ids]


def exit_code(rows: Sequence[JobRow]) -> int:
    """What the jobs' ends mean for a script; the worst counts."""
    states = {row.state for row in rows}
    if "failed" in states:
        return FAILED
    if "cancelled" in states:
        return INTERRUPTED
    if "blocked" in states:
        return BLOCKED
    return OK if states <= {"done"} else INTERRUPTED


def advice(row: JobRow) -> str:
    """What to do about a job that is not done."""
    if row.state == "failed":
        return f"negtui logs {row.id} tells more; negtui resume {row.id} tries again from what is on the disk."
    if row.state in ("paused", "cancelled"):
        return f"negtui resume {row.id} lets it go on."
    return f"When that is solved: negtui resume {row.id}, then negtui follow {row.id}."


async def _follow(daemon: Daemon, rows: dict[str, JobRow], since_seq: int, output: Output, progress: Progress) -> None:
    async for told in daemon.events(since_seq):
        if _job_of(told.event) not in rows or isinstance(told.event, Preview):
            continue
        output.object({"seq": told.seq, "time": told.time, "event": told.event})
        _show(progress, rows, told.event)
        if isinstance(told.event, JobStateChanged) and _all_settled(rows):
            # Events since `since_seq` may be older than the rows: only what is so now counts.
            rows.update(await _rows(daemon, tuple(rows)))
            if _all_settled(rows):
                return


def _show(progress: Progress, rows: dict[str, JobRow], event: AnyEvent) -> None:
    """Tell one event of a followed job; `rows` is brought up to date."""
    if isinstance(event, JobStateChanged):
        is_new = rows[event.job.id].state != event.job.state
        rows[event.job.id] = event.job
        _show_row(progress, event.job, is_new)
        return
    row = rows[_job_of(event)]
    reading = wording.reading(event)
    if reading is not None:
        # The last progress of a job may come after the news of its end.
        if row.state not in _ENDED and row.state not in _STANDING:
            progress.update(row.id, wording.title(row), reading)
    elif wording.stays(event):
        progress.say(f"{wording.title(row)}: {wording.told(event)}")


def _show_row(progress: Progress, row: JobRow, is_new: bool) -> None:
    """Tell a job's state, once per state."""
    if not is_new:
        return
    name = wording.title(row)
    if row.state == "done":
        seconds = (row.finished or 0.0) - (row.started or row.finished or 0.0)
        progress.end(row.id, name, f"done in {duration(max(seconds, 0.0))}", done=True)
    elif row.state in _ENDED or row.state in _STANDING:
        progress.end(row.id, name, wording.state(row), done=False)
    elif row.state != "queued":
        progress.say(f"{name}: {wording.state(row)} (job {row.id})")


def _all_settled(rows: dict[str, JobRow]) -> bool:
    """Whether nothing will move by itself: every job ended, stands still, or waits for one that will not get done."""
    stuck: set[str] = set()
    for row in sorted(rows.values(), key=lambda row: row.created):  # none waits for a later one
        if row.state in _STANDING or row.state in ("failed", "cancelled") or (row.state == "queued" and stuck & set(row.after)):
            stuck.add(row.id)
    return all(row.state == "done" or row.id in stuck for row in rows.values())


async def _print_until_standing(daemon: Daemon, job: JobRow, last: int, output: Output) -> None:
    try:
        if job.state in _ENDED or job.state in _STANDING:
            return
        async for told in daemon.events(last):
            if told.seq and _job_of(told.event) == job.id:
                _print_told(told, output)
                if isinstance(told.event, JobStateChanged) and told.event.job.state in (*_ENDED, *_STANDING):
                    return
    except asyncio.CancelledError:
        output.note(f"\nThe job goes on. To follow again: negtui logs -f {job.id}")
        raise


def _print_told(told: Told, output: Output) -> None:
    output.object({"seq": told.seq, "time": told.time, "event": told.event})
    text = wording.told(told.event)
    if text:
        output.result(f"{datetime.fromtimestamp(told.time):%Y-%m-%d %H:%M:%S}  {text}")


def _job_of(event: AnyEvent) -> str:
    job = getattr(event, "job", None)
    return job.id if isinstance(job, JobRow) else getattr(event, "job_id", "")


async def _rows(daemon: Daemon, ids: Sequence[str]) -> dict[str, JobRow]:
    found = {row.id: row for row in (await ask(daemon, ListJobs(limit=10_000), Jobs)).jobs}
    return {job_id: found[job_id] for job_id in ids}
