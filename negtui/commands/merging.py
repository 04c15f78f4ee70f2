"""`negtui merge NAME`: adapters of a session made into one, as the command line or the session says."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from daemon.protocol.commands import SessionAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.merging_spec import MergeSpec
from daemon.protocol.specs import JobSpec, MergeJob
from negtui.commands.invocation import Invocation
from negtui.commands.running import run_jobs, wanted
from negtui.merging import merge_spec

OPTIONS = ("output_name", "combination_type", "density", "svd_rank", "majority_sign_method", "seed")


async def merge(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui merge NAME [--adapters A=W B=W ... --combination TYPE --output NAME]`"""
    asked = asked_for(arguments)

    def chosen(session: SessionAnswer) -> Mapping[str, JobSpec]:
        if asked is None:
            return wanted(session, ("merge",))
        return {"merge": MergeJob(session=session.name, model=session.spec.model, merging=asked)}

    return await run_jobs(arguments, invocation, chosen)


def asked_for(arguments: argparse.Namespace) -> MergeSpec | None:
    """The merge that the command line describes; None: those that the session declares."""
    settings = {name: getattr(arguments, name) for name in OPTIONS}
    if arguments.adapters:
        return merge_spec(arguments.adapters, settings)
    if any(value is not None for value in settings.values()):
        raise NegError("invalid", "Which adapters are to be merged?", "Name them: --adapters wrong=1.0 subject=0.7")
    return None
