"""Starting a session's acts from a screen: jobs under way are joined, not queued twice. Knows no Textual."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from daemon.protocol.commands import AnyCommand, AnyResult, JobAnswer, Jobs, ListJobs, ReadSession, Resume, SessionAnswer, Submit, Submitted
from daemon.protocol.events import JobRow
from daemon.protocol.specs import JobSpec, job_specs, kind_of
from negtui.commands.connection import new_key
from negtui.commands.running import under_way

ACTS = ("synthesize", "train", "merge", "compare")
STANDING = ("paused", "blocked", "failed", "cancelled")

Ask = Callable[[AnyCommand], Awaitable[AnyResult | None]]
"""Sends a command; None where it was refused, which the person has been told."""


async def start_acts(ask: Ask, session: str, kinds: Sequence[str] = ACTS, *, full: bool = False) -> list[JobRow] | None:
    """The jobs of those acts that the session declares, each after the one before; None where the daemon refused one.

    Empty: the session declares none of them.
    """
    answer = await ask(ReadSession(name=session))
    if not isinstance(answer, SessionAnswer):
        return None
    every = job_specs(session, answer.spec, full)
    return await start_jobs(ask, session, {key: spec for key, spec in every.items() if kind_of(key) in kinds})


async def start_jobs(ask: Ask, session: str, specs: Mapping[str, JobSpec]) -> list[JobRow] | None:
    """The jobs of `specs`, each after the one before; None where the daemon refused one."""
    known = await ask(ListJobs(session=session, limit=10_000))
    if not isinstance(known, Jobs):
        return None
    joined = under_way(specs, known.jobs)
    rows: list[JobRow] = []
    for key, spec in specs.items():
        row = joined.get(key)
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
