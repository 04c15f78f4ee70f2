"""Starting a session's acts from a screen: jobs under way are joined, not queued twice. Knows no Textual."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from daemon.protocol.commands import AnyCommand, AnyResult, JobAnswer, Jobs, ListJobs, ReadSession, Resume, SessionAnswer, Submit, Submitted
from daemon.protocol.events import JobRow
from daemon.protocol.specs import job_specs
from negtui.commands.connection import new_key
from negtui.commands.running import under_way

ACTS = ("synthesize", "train", "compare")
STANDING = ("paused", "blocked", "failed", "cancelled")

Ask = Callable[[AnyCommand], Awaitable[AnyResult | None]]
"""Sends a command; None where it was refused, which the person has been told."""


async def start_acts(ask: Ask, session: str, kinds: Sequence[str] = ACTS, *, full: bool = False) -> list[JobRow] | None:
    """The jobs of those acts that the session declares, each after the one before; None where the daemon refused one.

    Empty: the session declares none of them.
    """
    answer = await ask(ReadSession(name=session))
    known = await ask(ListJobs(session=session, limit=10_000))
    if not isinstance(answer, SessionAnswer) or not isinstance(known, Jobs):
        return None
    every = job_specs(session, answer.spec, full)
    specs = {kind: every[kind] for kind in kinds if kind in every}
    joined = under_way(specs, known.jobs)
    rows: list[JobRow] = []
    for kind, spec in specs.items():
        row = joined.get(kind)
        if row is None:
            given = await ask(Submit(key=new_key(), spec=spec, after=tuple(row.id for row in rows[-1:])))
        elif row.state in STANDING:
            given = await ask(Resume(job_id=row.id))
        else:
            rows.append(row)
            continue
        if not isinstance(given, Submitted | JobAnswer):
            return None
        rows.append(given.job)
    return rows
