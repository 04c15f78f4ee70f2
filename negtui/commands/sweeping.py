"""`negtui sweep NAME`: one arm over a grid, as the session declares it or the command line says; and what came of one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from daemon.protocol.commands import ReadSweep, SessionAnswer, SweepAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.specs import JobSpec
from negtui.commands.exits import OK
from negtui.commands.invocation import Daemon, Invocation, ask
from negtui.commands.running import run_jobs
from negtui.output import Output
from negtui.sweeping import job_of, sweep_lines, sweep_spec

OPTIONS = (
    *("output_name", "adapter", "checkpoints", "weights", "guidance_scales", "guidance_windows"),
    *("num_prompts", "seeds", "metric", "racing", "first_look"),
)


async def sweep(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui sweep NAME [--checkpoints ...] [--weights ...] [--guidance-scales ...] [--windows ...]`"""
    changes = {name: getattr(arguments, name) for name in OPTIONS}

    def chosen(session: SessionAnswer) -> Mapping[str, JobSpec]:
        if session.spec.sweep is None and all(value is None for value in changes.values()):
            raise NegError("invalid", f"{session.path}/session.toml has no [sweep].", "Add it, or name axes: --weights 0.5 1 2.")
        return {"sweep": job_of(session.name, session.spec, sweep_spec(session.spec.sweep, changes))}

    return await run_jobs(arguments, invocation, chosen)


async def print_sweep(daemon: Daemon, session: str, name: str, output: Output) -> int:
    """`negtui results NAME --sweep S`"""
    answer = await ask(daemon, ReadSweep(session=session, name=name), SweepAnswer)
    output.object(answer)
    for line in sweep_lines(answer):
        output.result(line)
    return OK
