"""The line between the front and one worker: length-prefixed msgpack over a socketpair."""

from __future__ import annotations

from typing import Literal

import msgspec

from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import AnyEvent
from daemon.protocol.specs import JobSpec

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class LinkMessage(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type"):
    """Base of what travels on the link."""


class RunUnit(LinkMessage, frozen=True, kw_only=True):
    """Run a job's recipe on its session folder. All that comes back bears `fence`."""

    job_id: str
    fence: int
    spec: JobSpec
    session_path: str


class InterruptUnit(LinkMessage, frozen=True, kw_only=True):
    """Stop at the next step boundary."""

    job_id: str
    how: Literal["cancel", "pause"]


class WatchPreviews(LinkMessage, frozen=True, kw_only=True):
    wanted: bool


class StopWorker(LinkMessage, frozen=True, kw_only=True):
    pass


ToWorker = RunUnit | InterruptUnit | WatchPreviews | StopWorker


class WorkerReady(LinkMessage, frozen=True, kw_only=True):
    pid: int


class Alive(LinkMessage, frozen=True, kw_only=True):
    """Sent every second by a thread of the worker, with the steps taken so far."""

    num_steps: int
    phase: str = ""


class UnitTold(LinkMessage, frozen=True, kw_only=True):
    job_id: str
    fence: int
    event: AnyEvent


class UnitEnded(LinkMessage, frozen=True, kw_only=True):
    """`done`, `paused`, `cancelled`, or `failed` with its error."""

    job_id: str
    fence: int
    outcome: Literal["done", "paused", "cancelled", "failed"]
    error: ErrorDetail | None = None
    timings: dict[str, float] = {}


FromWorker = WorkerReady | Alive | UnitTold | UnitEnded
