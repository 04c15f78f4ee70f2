"""What a client may ask, and what it is answered. All but `Submit` and `CreateSession` set a target state, hence may be repeated."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import JobRow
from daemon.protocol.fields import Name
from daemon.protocol.orders import Order
from daemon.protocol.specs import JobSpec, SessionSpec

Key = Annotated[str, Meta(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
JobId = Annotated[str, Meta(min_length=1, max_length=64)]


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type"):
    """Base of all requests; the tag is the class name."""


class Hello(Command, frozen=True, kw_only=True):
    min_protocol: int
    max_protocol: int
    client: Annotated[str, Meta(max_length=200)] = ""


class Attach(Command, frozen=True, kw_only=True):
    """Start the flow of events on this connection: those after `since_seq` of the same store, or a snapshot and those after it."""

    store_id: Annotated[str, Meta(max_length=64)] = ""
    since_seq: Seq = 0
    credit: Annotated[int, Meta(ge=0, le=10_000)] = 256
    previews: bool = False


class Credit(Command, frozen=True, kw_only=True):
    """Allow `n` more durable events. Not answered."""

    n: Annotated[int, Meta(ge=1, le=10_000)]


class Ping(Command, frozen=True, kw_only=True):
    last_seq: Seq = 0


class Submit(Command, frozen=True, kw_only=True):
    """Queue a job. `key` is the client's; the same key with the same spec is the same job, with another spec a conflict."""

    key: Key
    spec: JobSpec
    after: Annotated[tuple[JobId, ...], Meta(max_length=64)] = ()
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0


class Cancel(Command, frozen=True, kw_only=True):
    job_id: JobId


class Pause(Command, frozen=True, kw_only=True):
    job_id: JobId


class Resume(Command, frozen=True, kw_only=True):
    """Back to the queue: a paused, blocked, failed or cancelled job goes on from what it has on disk."""

    job_id: JobId


class Prioritise(Command, frozen=True, kw_only=True):
    job_id: JobId
    priority: Annotated[int, Meta(ge=-100, le=100)]


class Steer(Command, frozen=True, kw_only=True):
    """Pass an order to a training while it runs. Answered once it is on its way to the worker; given again it does no more."""

    job_id: JobId
    order: Order


class ListJobs(Command, frozen=True, kw_only=True):
    session: Name | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class ReadEvents(Command, frozen=True, kw_only=True):
    """Stored events, optionally of one job, oldest first, after `since_seq`."""

    job_id: JobId | None = None
    since_seq: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 500


class ListSessions(Command, frozen=True, kw_only=True):
    pass


class CreateSession(Command, frozen=True, kw_only=True):
    """A new session folder from a template, with changes as `section.field` -> a TOML value as text. Checked before anything is written."""

    name: Name
    template: Name
    changes: Annotated[dict[str, Annotated[str, Meta(max_length=4096)]], Meta(max_length=200)] = {}
    skip_checks: bool = False


class ReadSession(Command, frozen=True, kw_only=True):
    """Parse and check `session.toml`, as it is on disk now."""

    name: Name


class Drain(Command, frozen=True, kw_only=True):
    """Stop: the running job stops at its next step boundary and goes on at the next start."""


class GetBlob(Command, frozen=True, kw_only=True):
    """A piece of a file of a session, on the blob socket. `path` is relative to the session folder."""

    session: Name
    path: Annotated[str, Meta(min_length=1, max_length=1024)]
    offset: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    length: Annotated[int, Meta(ge=1, le=262_144)] = 262_144


AnyCommand = (
    Hello
    | Attach
    | Credit
    | Ping
    | Submit
    | Cancel
    | Pause
    | Resume
    | Prioritise
    | Steer
    | ListJobs
    | ReadEvents
    | ListSessions
    | CreateSession
    | ReadSession
    | Drain
    | GetBlob
)


class Result(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type"):
    """Base of all answers."""


class Failed(Result, frozen=True, kw_only=True):
    error: ErrorDetail


class Welcome(Result, frozen=True, kw_only=True):
    """`boot_id` is new at every start of the daemon, `store_id` at every new database."""

    protocol: int
    version: str
    store_id: str
    boot_id: str
    head_seq: int
    min_seq: int
    sessions_path: str
    pid: int
    limits: dict[str, int] = {}


class Attached(Result, frozen=True, kw_only=True):
    """`snapshot` is None where the events after `since_seq` follow; otherwise the state as of `seq`."""

    seq: int
    snapshot: Snapshot | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    jobs: tuple[JobRow, ...] = ()
    sessions: tuple[SessionRow, ...] = ()
    workers: dict[str, str] = {}


class Pong(Result, frozen=True, kw_only=True):
    boot_id: str
    head_seq: int
    loop_lag_seconds: float = 0.0
    workers: dict[str, str] = {}
    attached: bool = False
    """Whether events flow to the one who asked; false after the daemon forgot a peer that was silent for long."""


class Submitted(Result, frozen=True, kw_only=True):
    job: JobRow
    replayed: bool = False


class JobAnswer(Result, frozen=True, kw_only=True):
    job: JobRow


class Jobs(Result, frozen=True, kw_only=True):
    jobs: tuple[JobRow, ...]


class StoredEvents(Result, frozen=True, kw_only=True):
    """`events` are encoded `DurableEvent`s with their `seqs` and Unix times."""

    seqs: tuple[int, ...]
    times: tuple[float, ...]
    events: tuple[bytes, ...]
    head_seq: int


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session folder at a glance."""

    name: str
    description: str = ""
    num_images: int = 0
    adapters: tuple[str, ...] = ()
    comparisons: tuple[str, ...] = ()
    error: str = ""
    """What is wrong with its `session.toml`, in words; empty: nothing."""


class Sessions(Result, frozen=True, kw_only=True):
    sessions: tuple[SessionRow, ...]


class SessionAnswer(Result, frozen=True, kw_only=True):
    name: str
    path: str
    spec: SessionSpec
    warnings: tuple[str, ...] = ()


class Draining(Result, frozen=True, kw_only=True):
    pass


class Blob(Result, frozen=True, kw_only=True):
    """The bytes ride as the message's attachment. `sha256` is of the whole file."""

    sha256: str
    size: int
    offset: int


AnyResult = Failed | Welcome | Attached | Pong | Submitted | JobAnswer | Jobs | StoredEvents | Sessions | SessionAnswer | Draining | Blob
