"""Adapters of a session -> one adapter. Imports torch only when there is something to compute."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.adapters import placing
from daemon.files import sweep_temporary
from daemon.merging.plan import make_plan
from daemon.merging.telling import RECORD_NAME, model_card
from daemon.protocol.events import DurableEvent, Logged
from daemon.protocol.specs import MergeJob
from daemon.recipe import JobContext


def merge(job: MergeJob, context: JobContext) -> Iterator[DurableEvent]:
    """Merge the adapters of `job`, or tell of the merged one where it is there: the same parents and settings give the same file.

    Raises `NegError`: no such adapter, kinds or ranks that do not go together, a parent that does not fit the model, a full disk.
    """
    with context.phase("identify"):
        plan = make_plan(job, context)
    sweep_temporary(plan.place.path.parent)
    warnings: list[str] = []
    saved = placing.find_finished(plan.place, warnings.append)
    for text in warnings:
        yield Logged(job_id=context.job_id, level="warning", message=text)
    if saved is None:
        context.check()
        from daemon.merging.combining import combine

        files, record = combine(plan, context)
        with context.phase("export"):
            saved = placing.save(plan.place, files, model_card(plan, record), RECORD_NAME, record)
    yield saved
