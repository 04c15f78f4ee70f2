"""What a client is answered: exactly one of these for every command but `Credit`. What may be asked is in `commands.py`."""

from __future__ import annotations

import msgspec

from daemon.protocol.diagnosis import Diagnosis
from daemon.protocol.effects import Claim, Effect
from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import JobRow, Mark
from daemon.protocol.fields import Prompt
from daemon.protocol.specs import AdapterRequest, EmbeddingRequest, ImageRecord, SessionSpec
from daemon.protocol.sweeps import SweepTable
from daemon.protocol.voting import RoundRow, Trial, Vote, VoteResults


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
    sweeps: tuple[str, ...] = ()
    num_votes: int = 0
    """Blind votes on its comparisons that stand."""
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


class SessionDeleted(Result, frozen=True, kw_only=True):
    """`num_bytes` were freed."""

    name: str
    num_bytes: int


class FileRow(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a session; `path` is relative to its folder."""

    path: str
    size: int


class Files(Result, frozen=True, kw_only=True):
    """A page of a session's files, by path; there are more while `is_last` is false: ask again after the last one's path."""

    files: tuple[FileRow, ...]
    num_links: int
    """Links in the folder, which are not listed."""
    is_last: bool


class Images(Result, frozen=True, kw_only=True):
    """A page of pictures; there are more while `is_last` is false: ask again after the last one's id."""

    images: tuple[ImageRecord, ...]
    total: int
    """Of all pages."""
    is_last: bool
    unlisted: tuple[str, ...] = ()
    """Pictures that lie in the folder without a line in the manifest, as a person puts them there (with the last page; 1,000 at most)."""


class Marked(Result, frozen=True, kw_only=True):
    """The pictures' marks now and before, in the order they were asked for."""

    marks: tuple[Mark, ...]
    before: tuple[Mark, ...]


class Plan(Result, frozen=True, kw_only=True):
    """What a synthesis would make."""

    num_images: int
    """Asked for, those that are there already included."""
    num_present: int
    """Of them, those that are there already, as far as their settings tell."""
    num_bytes: int
    """Room that the missing ones will take, about."""
    free_bytes: int
    seconds: float | None = None
    """Time for the missing ones, from what earlier pictures of this model took here; None where there were none."""
    seconds_per_image: float | None = None
    num_measured: int = 0
    """Pictures that the pace was measured on."""


class Ordered(Result, frozen=True, kw_only=True):
    """It is on its way to these workers."""

    workers: tuple[str, ...]


class ComparedArm(msgspec.Struct, frozen=True, kw_only=True):
    """One way of painting, as it was painted."""

    name: str
    negative_prompt: Prompt | None = None
    adapters: tuple[AdapterRequest, ...] = ()
    embeddings: tuple[EmbeddingRequest, ...] = ()
    means: dict[str, float] = {}
    """Of every metric over all blocks."""


class ComparedCell(msgspec.Struct, frozen=True, kw_only=True):
    """One picture and what was measured in it."""

    image: ImageRecord
    values: dict[str, float] = {}


class ComparedBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt with a seed, painted by every arm: `cells` are in the arms' order."""

    index: int
    prompt: str
    seed: int
    cells: tuple[ComparedCell, ...]


class ComparisonAnswer(Result, frozen=True, kw_only=True):
    """A comparison's results; paths are relative to the session folder. More blocks follow while the last one is not `num_blocks - 1`."""

    session: str
    name: str
    arms: tuple[ComparedArm, ...]
    blocks: tuple[ComparedBlock, ...]
    num_blocks: int
    effects: tuple[Effect, ...]
    verdict: str
    report_path: str
    sheet_paths: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    diagnosis: Diagnosis | None = None
    """With the first page only; its maps lie below the comparison's folder."""


class RoundAnswer(Result, frozen=True, kw_only=True):
    """A round as the voter may see it."""

    session: str
    comparison: str
    round: RoundRow
    trials: tuple[Trial, ...]
    """The next ones without an answer, the first of them to be answered now; empty: all are answered."""
    last_number: int | None = None
    """The trial that was answered last: what undo takes back."""


class VotesAnswer(Result, frozen=True, kw_only=True):
    """The rounds of a comparison, oldest first, and what the closed ones say; `results` is None where none is closed."""

    session: str
    comparison: str
    arms: tuple[str, ...]
    num_blocks: int
    rounds: tuple[RoundRow, ...]
    results: VoteResults | None = None


class Votes(Result, frozen=True, kw_only=True):
    """A page of votes, `total` in all: ask again behind them while there are more."""

    votes: tuple[Vote, ...]
    total: int


class SweepAnswer(Result, frozen=True, kw_only=True):
    """A finished sweep. `folder` is relative to the session's; the table's sheets lie in it."""

    session: str
    folder: str
    table: SweepTable


AnyResult = (
    Failed
    | Welcome
    | Attached
    | Pong
    | Submitted
    | JobAnswer
    | Jobs
    | StoredEvents
    | Sessions
    | SessionAnswer
    | SessionDeleted
    | Files
    | Images
    | Marked
    | Plan
    | Ordered
    | ComparisonAnswer
    | SweepAnswer
    | RoundAnswer
    | VotesAnswer
    | Votes
    | Draining
    | Blob
)
