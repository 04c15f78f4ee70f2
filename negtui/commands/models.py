"""`load`, `unload`: what the workers hold in memory between jobs."""

from __future__ import annotations

import argparse

from daemon.protocol.commands import AnyCommand, LoadModel, Ordered, Ping, Pong, UnloadModel
from daemon.protocol.events import Residents
from negtui.commands.exits import FAILED, OK
from negtui.commands.invocation import Invocation, ask, session_name
from negtui.output import table


async def load(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui load NAME`"""
    return await _hold(LoadModel(session=session_name(arguments.name)), invocation)


async def unload(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui unload`"""
    return await _hold(UnloadModel(), invocation)


async def _hold(command: AnyCommand, invocation: Invocation) -> int:
    """Ask, and wait until every worker that was asked has told what it holds then."""
    async with invocation.daemon() as daemon:
        head_seq = (await ask(daemon, Ping(), Pong)).head_seq
        waiting = set((await ask(daemon, command, Ordered)).workers)
        code = OK
        async for told in daemon.events(head_seq):
            if isinstance(told.event, Residents) and told.event.worker in waiting and not told.event.doing:
                waiting.discard(told.event.worker)
                code = max(code, _print(told.event, invocation))
            if not waiting:
                break
    return code


def _print(residents: Residents, invocation: Invocation) -> int:
    output = invocation.output
    output.object({"residents": residents})
    if residents.error:
        output.note(f"negtui: worker {residents.worker}: {residents.error}")
        return FAILED
    output.line(f"Worker {residents.worker} holds:" if residents.parts else f"Worker {residents.worker} holds nothing.")
    cells = [(part.name, part.kind, f"{part.num_bytes / 2**20:.1f} MiB", part.device, part.dtype) for part in residents.parts]
    for line in table(("part", "of", "size", "on", "precision"), cells, indent="  ", right=frozenset({2})) if cells else ():
        output.result(line)
    return OK
