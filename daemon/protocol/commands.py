"""What a client may ask, and what it is answered.

All but `Submit` and those of `NOT_REPEATED` set a target state or only read, hence may be repeated. What is answered is in
`results.py`, and can be imported from here too.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from daemon.protocol.events import ImagesFolder
from daemon.protocol.fields import MAX_TAGS, Name, Path_, Tag
from daemon.protocol.orders import Order
from daemon.protocol.results import AnyResult as AnyResult
from daemon.protocol.results import Attached as Attached
from daemon.protocol.results import Blob as Blob
from daemon.protocol.results import ComparedArm as ComparedArm
from daemon.protocol.results import ComparedBlock as ComparedBlock
from daemon.protocol.results import ComparedCell as ComparedCell
from daemon.protocol.results import ComparisonAnswer as ComparisonAnswer
from daemon.protocol.results import Draining as Draining
from daemon.protocol.results import Failed as Failed
from daemon.protocol.results import FileRow as FileRow
from daemon.protocol.results import Files as Files
from daemon.protocol.results import Images as Images
from daemon.protocol.results import JobAnswer as JobAnswer
from daemon.protocol.results import Jobs as Jobs
from daemon.protocol.results import Marked as Marked
from daemon.protocol.results import Ordered as Ordered
from daemon.protocol.results import Plan as Plan
from daemon.protocol.results import Pong as Pong
from daemon.protocol.results import Result as Result
from daemon.protocol.results import RoundAnswer as RoundAnswer
from daemon.protocol.results import SessionAnswer as SessionAnswer
from daemon.protocol.results import SessionDeleted as SessionDeleted
from daemon.protocol.results import SessionRow as SessionRow
from daemon.protocol.results import Sessions as Sessions
from daemon.protocol.results import Snapshot as Snapshot
from daemon.protocol.results import StoredEvents as StoredEvents
from daemon.protocol.results import Submitted as Submitted
from daemon.protocol.results import SweepAnswer as SweepAnswer
from daemon.protocol.results import Votes as Votes
from daemon.protocol.results import VotesAnswer as VotesAnswer
from daemon.protocol.results import Welcome as Welcome
from daemon.protocol.specs import JobSpec, Status
from daemon.protocol.voting import Choice, RoundId, RoundSpec

Key = Annotated[str, Meta(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
JobId = Annotated[str, Meta(min_length=1, max_length=64)]
ImageId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Changes = Annotated[dict[str, Annotated[str, Meta(max_length=65_536)]], Meta(max_length=200)]
"""`section.field` -> a TOML value as text; the bare word `none` takes a setting away."""
Tags = Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)]
MAX_MARKED = 1000
MAX_SESSION_TEXT = 65_536


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
    changes: Changes = {}
    skip_checks: bool = False


class ReadSession(Command, frozen=True, kw_only=True):
    """Parse and check `session.toml`, as it is on disk now."""

    name: Name


class ChangeSession(Command, frozen=True, kw_only=True):
    """Change settings where they stand in `session.toml`; comments stay. Checked before it is written; nothing else changes."""

    name: Name
    changes: Changes
    skip_checks: bool = False
    """Do not look at the model and the room there is; that the file can be read is always checked."""


class WriteSession(Command, frozen=True, kw_only=True):
    """Replace the text of `session.toml`, if it still is the one whose hash is `sha256`; otherwise a conflict."""

    name: Name
    text: Annotated[str, Meta(max_length=MAX_SESSION_TEXT)]
    sha256: Annotated[str, Meta(max_length=64)]


class DuplicateSession(Command, frozen=True, kw_only=True):
    """Copy a session under a new name, without what can be computed again (`cache/`, `checkpoints/`)."""

    name: Name
    new_name: Name
    settings_only: bool = False
    """Only its settings and prompts: no pictures, adapters, comparisons."""


class DeleteSession(Command, frozen=True, kw_only=True):
    """Remove a session's folder for good. `typed` is its name, typed by a person. A conflict while jobs of it run or wait."""

    name: Name
    typed: Annotated[str, Meta(max_length=64)]


class ListFiles(Command, frozen=True, kw_only=True):
    """What belongs to a session, to be fetched with `GetBlob` and packed: all its files but those that can be computed again."""

    name: Name
    also: Annotated[tuple[Literal["cache", "checkpoints"], ...], Meta(max_length=2)] = ()
    """Folders that are left out otherwise."""
    after: Annotated[str, Meta(max_length=4096)] = ""


class ImportSession(Command, frozen=True, kw_only=True):
    """Take a packed session (`archive.py`) from a file on the daemon's host. Checked whole; whole, or not at all."""

    path: Path_
    """Absolute."""
    new_name: Name | None = None
    """None: the name it had."""


class ListImages(Command, frozen=True, kw_only=True):
    """A page of a session's pictures in the order they were made: those behind the one with the id `after`; empty: from the first."""

    session: Name
    folder: ImagesFolder = "dataset"
    after: Annotated[str, Meta(max_length=64)] = ""
    limit: Annotated[int, Meta(ge=1, le=2000)] = 500


class MarkImages(Command, frozen=True, kw_only=True):
    """Decide on pictures, and tag them. `status` None leaves it as it is."""

    session: Name
    folder: ImagesFolder = "dataset"
    ids: Annotated[tuple[ImageId, ...], Meta(min_length=1, max_length=MAX_MARKED)]
    status: Status | None = None
    add_tags: Tags = ()
    remove_tags: Tags = ()


class RestoreMarks(Command, frozen=True, kw_only=True):
    """Give pictures these very marks, as `Marked.before` told them: undo."""

    session: Name
    folder: ImagesFolder = "dataset"
    marks: Annotated[tuple[WantedMark, ...], Meta(min_length=1, max_length=MAX_MARKED)]


class WantedMark(msgspec.Struct, frozen=True, kw_only=True):
    """As `Mark`, from outside."""

    id: ImageId
    status: Status = "undecided"
    tags: Tags = ()


class PlanSynthesis(Command, frozen=True, kw_only=True):
    """What a synthesis would take: of the session as it is on disk, or with `changes` that are not written."""

    name: Name
    changes: Changes = {}


class LoadModel(Command, frozen=True, kw_only=True):
    """Have a session's model in the memory of every idle worker. Answered when that begins; `Residents` tells the rest."""

    session: Name


class UnloadModel(Command, frozen=True, kw_only=True):
    """Have every idle worker give its memory back."""


class ReadComparison(Command, frozen=True, kw_only=True):
    """A finished comparison; its blocks from `after_block` on, as many as fit into one answer and at most `limit`."""

    session: Name
    name: Name
    after_block: Annotated[int, Meta(ge=0, le=2**31)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class ReadSweep(Command, frozen=True, kw_only=True):
    """A finished sweep's table."""

    session: Name
    name: Name


class OpenRound(Command, frozen=True, kw_only=True):
    """Begin a round of blind votes on a finished comparison, or go on with the one that this voter has open there."""

    session: Name
    comparison: Name
    voter: Name
    spec: RoundSpec | None = None
    """None: whatever the open one is, or a round of everything."""


class CastVote(Command, frozen=True, kw_only=True):
    """Answer one trial. The same answer again does no more; another one is a conflict: undo first."""

    session: Name
    comparison: Name
    round_id: RoundId
    number: Annotated[int, Meta(ge=0, le=2**31)]
    choice: Choice


class UndoVote(Command, frozen=True, kw_only=True):
    """Take the answer to a trial back; it is the next one then."""

    session: Name
    comparison: Name
    round_id: RoundId
    number: Annotated[int, Meta(ge=0, le=2**31)]


class CloseRound(Command, frozen=True, kw_only=True):
    """End a round: nothing is added, and its votes count. Only now are names told."""

    session: Name
    comparison: Name
    round_id: RoundId


class ReadVotes(Command, frozen=True, kw_only=True):
    """The rounds of a comparison, and what the closed ones say."""

    session: Name
    comparison: Name


class ListVotes(Command, frozen=True, kw_only=True):
    """A page of the votes of closed rounds, as they were cast: those from the `after`-th on."""

    session: Name
    comparison: Name
    after: Annotated[int, Meta(ge=0, le=2**31)] = 0
    limit: Annotated[int, Meta(ge=1, le=2000)] = 500


class Drain(Command, frozen=True, kw_only=True):
    """Stop: the running job stops at its next step boundary and goes on at the next start."""


class GetBlob(Command, frozen=True, kw_only=True):
    """A piece of a file of a session, on the blob socket. `path` is relative to the session folder."""

    session: Name
    path: Annotated[str, Meta(min_length=1, max_length=1024)]
    offset: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    length: Annotated[int, Meta(ge=1, le=262_144)] = 262_144


NOT_REPEATED = (CreateSession, WriteSession, DuplicateSession, ImportSession, DeleteSession)
"""Commands that are not sent again silently: done a second time they would fail, or undo what came between. `Submit` has its key."""
SLOW = (DuplicateSession, ImportSession)
"""Answered when gigabytes have been copied."""

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
    | ChangeSession
    | WriteSession
    | DuplicateSession
    | ListFiles
    | ImportSession
    | DeleteSession
    | ListImages
    | MarkImages
    | RestoreMarks
    | PlanSynthesis
    | LoadModel
    | UnloadModel
    | ReadComparison
    | ReadSweep
    | OpenRound
    | CastVote
    | UndoVote
    | CloseRound
    | ReadVotes
    | ListVotes
    | Drain
    | GetBlob
)
