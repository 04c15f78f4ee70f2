"""`export` and `import`: a session for another host, and one from there."""

from __future__ import annotations

import argparse
from pathlib import Path

from daemon.protocol.commands import ImportSession, SessionAnswer
from negtui.commands.exits import OK
from negtui.commands.invocation import Invocation, ask, session_name
from negtui.commands.show import fetch_of
from negtui.output import quantity
from negtui.packing import SUFFIX, pack


async def export(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui export NAME [FILE]`: written here, wherever the daemon runs."""
    name, output = session_name(arguments.name), invocation.output
    path = Path(arguments.file) if arguments.file else Path(f"{name}{SUFFIX}")
    path = path / f"{name}{SUFFIX}" if path.is_dir() else path
    also = [folder for folder in ("cache", "checkpoints") if getattr(arguments, folder)]
    async with invocation.daemon() as daemon:
        packed = await pack(daemon.request, fetch_of(daemon), name, path, also, output.note if not output.quiet else _silent)
    output.object({"path": str(path), "files": packed.num_files, "bytes": packed.num_bytes, "links": packed.num_links})
    if packed.num_links:
        output.note(f"warning: {quantity(packed.num_links, 'link')} stayed behind: what they point to lies elsewhere.")
    if packed.num_gone:
        output.note(f"warning: {quantity(packed.num_gone, 'file')} went away meanwhile, by a job that runs.")
    output.line(f"Packed {quantity(packed.num_files, 'file')} into {path} ({packed.num_bytes / 2**20:.1f} MiB).")
    output.line(f"There: negtui import {path.name}")
    return OK


async def take(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui import FILE [--name NEW]`: FILE lies where the daemon runs."""
    path = arguments.file if invocation.settings.connect else str(Path(arguments.file).expanduser().absolute())
    command = ImportSession(path=path, new_name=session_name(arguments.name) if arguments.name else None)
    async with invocation.daemon() as daemon:
        answer = await ask(daemon, command, SessionAnswer)
    invocation.output.object({"session": answer})
    for warning in answer.warnings:
        invocation.output.note(f"warning: {warning}")
    invocation.output.line(f"Took {answer.path}; every file is the one that was packed.")
    return OK


def _silent(text: str) -> None:
    """For --quiet."""
