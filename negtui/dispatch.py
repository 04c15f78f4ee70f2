"""From a parsed command line to an exit code: imports the command, connects it, turns every end into words."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys
from typing import TextIO

from daemon.protocol.errors import NegError
from negtui.commands.exits import FAILED, INTERRUPTED, OK, exit_code_of
from negtui.commands.invocation import Connect, Invocation
from negtui.config import settings
from negtui.output import Output


def dispatch(arguments: argparse.Namespace, *, connect: Connect | None, stdout: TextIO | None, stderr: TextIO | None) -> int:
    """Run the command that `arguments` name; returns the exit code. Prints errors, raises none."""
    output = Output(as_json=arguments.json, quiet=arguments.quiet, stdout=stdout, stderr=stderr)
    try:
        return asyncio.run(_run(arguments, output, connect))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has seen enough (`negtui jobs | head`); Python's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except NegError as error:
        output.error(error)
        return exit_code_of(error)
    except Exception as error:
        if os.environ.get("NEGTUI_DEBUG"):
            raise
        output.error(NegError("internal", f"{type(error).__name__}: {error}", "A fault of negtui. NEGTUI_DEBUG=1 shows where."))
        return FAILED


async def _run(arguments: argparse.Namespace, output: Output, connect: Connect | None) -> int:
    module, _, function = arguments.handler.partition(":")
    handler = getattr(importlib.import_module(f"negtui.commands.{module}"), function)
    if connect is None:
        from negtui.commands.connection import open_daemon

        connect = open_daemon
    invocation = Invocation(settings(arguments.connect, arguments.workspace), output, connect)
    code: int = await handler(arguments, invocation)
    return code
