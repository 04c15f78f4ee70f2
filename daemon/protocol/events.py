"""What happened. Durable events are stored, numbered by `seq` and replayed; ephemeral ones may be lost.

A durable event names itself by `key`: a job's events with equal keys are the same fact, stored once however often it is told
(a recipe that resumes tells again what it finds done).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from daemon.protocol.effects import Claim, Effect
from daemon.protocol.errors import ErrorDetail
from daemon.protocol.specs import ImageRecord, JobSpec, Status
from daemon.protocol.voting import Choice

ImagesFolder = Literal["dataset", "class_images"]
"""Where a session's pictures lie that people decide on."""
State = Literal["queued", "running", "pausing", "paused", "blocked", "done", "failed", "cancelled"]


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job as clients see it. Times are Unix seconds."""

    id: str
    key: str
    spec: JobSpec
    state: State
    reason: str = ""
    """Why it is blocked, paused or waits, in words."""
    error: ErrorDetail | None = None
    priority: int = 0
    after: tuple[str, ...] = ()
    """Ids of the jobs that must be done first."""
    fence: int = 0
    """How often it was started; results of an older start are refused."""
    created: float
    started: float | None = None
    finished: float | None = None
    timings: dict[str, float] = {}
    """Seconds by phase, told by the recipe when it ends."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type"):
    """Base of all events; the tag is the class name."""

    @property
    def key(self) -> str | None:
        """What makes two tellings of a job's event one fact; None: every telling counts."""
        return None


class JobAccepted(Event, frozen=True, kw_only=True):
    job: JobRow


class JobStateChanged(Event, frozen=True, kw_only=True):
    job: JobRow


class ImageSaved(Event, frozen=True, kw_only=True):
    job_id: str
    session: str
    image: ImageRecord
    index: int
    num_images: int
    reused: bool = False

    @property
    def key(self) -> str | None:
        return f"image:{self.image.arm or ''}:{self.image.id}:{self.index}"


class CheckpointSaved(Event, frozen=True, kw_only=True):
    job_id: str
    step: int
    path: str

    @property
    def key(self) -> str | None:
        return f"checkpoint:{self.path}"


class MetricsRecorded(Event, frozen=True, kw_only=True):
    """A batch of training points; `steps[i]` is of `values[name][i]`. Batches are aligned: a resumed run tells the same ones.

    The curve of a run (`loss` and what belongs to every step) and measurements (`held_out_loss`, `separation`, ...; one step an event,
    the first before any training: step 0) come in events of their own.
    """

    job_id: str
    steps: tuple[int, ...]
    values: dict[str, tuple[float, ...]]

    @property
    def key(self) -> str | None:
        if not self.steps:
            return None
        measured = "" if "loss" in self.values else f"{'+'.join(sorted(self.values))}:"
        return f"metrics:{measured}{self.steps[0]}-{self.steps[-1]}"


class SamplePicture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture painted from the weights of a training under way. `arm`: `baseline`, `placebo` or `target`."""

    arm: str
    prompt: str
    negative_prompt: str | None
    seed: int
    path: str
    """Relative to the session folder. Baseline and placebo lie in `step-000000`: training changes nothing about them."""
    sha256: str
    values: dict[str, float] = {}
    """What a scorer of the model reads in it, e.g. `flaw_probability`; empty where there is none."""


class SamplesSaved(Event, frozen=True, kw_only=True):
    """Sample pictures of a training at one step, prompt by prompt in the comparison's arms; step 0 is before training."""

    job_id: str
    session: str
    run: str
    """The folder below `samples/`."""
    step: int
    pictures: tuple[SamplePicture, ...]

    @property
    def key(self) -> str | None:
        return f"samples:{self.run}:{self.step}"


class AdapterSaved(Event, frozen=True, kw_only=True):
    job_id: str
    session: str
    name: str
    path: str
    sha256: str
    num_bytes: int
    reused: bool = False
    step: int | None = None
    """Whose weights these are, where it is not the last step that was asked for: see `reason`."""
    reason: str = ""
    """Why it is that step, in words: stopped by request, or early stopping."""

    @property
    def key(self) -> str | None:
        return f"adapter:{self.name}:{self.sha256}"


class ComparisonSaved(Event, frozen=True, kw_only=True):
    job_id: str
    session: str
    name: str
    report_path: str
    sheet_path: str
    effects: tuple[Effect, ...]
    verdict: str
    """One or two sentences: did the target beat baseline and placebo, on what, by how much."""
    claims: tuple[Claim, ...] = ()

    @property
    def key(self) -> str | None:
        return f"comparison:{self.name}"


class CellStopped(Event, frozen=True, kw_only=True):
    """A cell of a sweep clearly loses: it is painted no further."""

    job_id: str
    session: str
    name: str
    """Of the sweep."""
    cell: str
    reason: str
    """`stopped after 64 blocks: ...`"""

    @property
    def key(self) -> str | None:
        return f"stopped:{self.name}:{self.cell}"


class SweepSaved(Event, frozen=True, kw_only=True):
    job_id: str
    session: str
    name: str
    table_path: str
    """The table as CSV; paths are relative to the session folder."""
    sheet_path: str
    best: str
    """The cell that won."""
    num_cells: int
    num_stopped: int
    verdict: str
    """One or two sentences."""

    @property
    def key(self) -> str | None:
        return f"sweep:{self.name}"


class SessionChanged(Event, frozen=True, kw_only=True):
    session: str
    change: Literal["created", "edited", "invalid", "images", "adapters", "deleted"]
    path: str = ""
    message: str = ""


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person decided on one picture, whole."""

    id: str
    status: Status = "undecided"
    tags: tuple[str, ...] = ()


class ImagesMarked(Event, frozen=True, kw_only=True):
    """Pictures were marked; they are as `marks` says, whatever they were."""

    session: str
    folder: ImagesFolder
    marks: tuple[Mark, ...]


class RoundOpened(Event, frozen=True, kw_only=True):
    """A voter began a round of blind votes on a comparison."""

    session: str
    comparison: str
    round_id: str
    voter: str
    num_trials: int


class VoteCast(Event, frozen=True, kw_only=True):
    """A trial was answered; whose picture was chosen is told by nobody before the round is closed."""

    session: str
    comparison: str
    round_id: str
    voter: str
    number: int
    choice: Choice


class VoteUndone(Event, frozen=True, kw_only=True):
    session: str
    comparison: str
    round_id: str
    voter: str
    number: int


class RoundClosed(Event, frozen=True, kw_only=True):
    """Its votes count now, and can be read with their names."""

    session: str
    comparison: str
    round_id: str
    voter: str
    num_votes: int


class WorkerChanged(Event, frozen=True, kw_only=True):
    worker: str
    state: Literal["starting", "ready", "busy", "lost", "sick", "stopped"]
    message: str = ""


class Logged(Event, frozen=True, kw_only=True):
    job_id: str
    level: Literal["info", "warning", "error"]
    message: str


DurableEvent = (
    JobAccepted
    | JobStateChanged
    | ImageSaved
    | CheckpointSaved
    | MetricsRecorded
    | SamplesSaved
    | AdapterSaved
    | ComparisonSaved
    | CellStopped
    | SweepSaved
    | SessionChanged
    | ImagesMarked
    | RoundOpened
    | VoteCast
    | VoteUndone
    | RoundClosed
    | WorkerChanged
    | Logged
)


class StepProgress(Event, frozen=True, kw_only=True):
    """Where a running job is; the latest one counts."""

    job_id: str
    phase: str
    """`load`, `synthesise`, `cache`, `train`, `validate`, `sample`, `paint`, `measure`, ..."""
    step: int
    num_steps: int
    label: str = ""
    image_index: int | None = None
    num_images: int | None = None
    steps_per_second: float | None = None
    eta_seconds: float | None = None
    samples_per_second: float | None = None
    """Pictures a training step learns from, a second: steps per second x batch x accumulation."""
    memory_bytes: int | None = None
    """Of a training: the most its GPU's tensors took so far, or what the process holds on a CPU."""
    values: dict[str, float] = {}
    """The newest readings of a training by name: `loss`, `learning_rate`, `grad_norm`, `adapter_norm`, `held_out_loss`, ..."""


class Preview(Event, frozen=True, kw_only=True):
    """A picture while it is denoised; the JPEG (<= 32 KiB) rides as the message's attachment."""

    job_id: str
    image_id: str
    step: int
    num_steps: int
    jpeg: bytes = b""


class Gauges(Event, frozen=True, kw_only=True):
    """A reading of one device; None is "n/a"."""

    device: str
    memory_used: int | None = None
    memory_total: int | None = None
    utilisation: float | None = None
    temperature: float | None = None
    power_watts: float | None = None


class ResidentPart(msgspec.Struct, frozen=True, kw_only=True):
    """Something that lies in a worker's memory."""

    name: str
    """`unet`, `vae`, `text_encoder`, `text_encoder_2`, ...; an adapter's or embedding's own name."""
    kind: Literal["base", "refiner", "shared", "adapter", "embedding"]
    """Whose it is; `shared`: of base and refiner alike."""
    num_bytes: int
    device: str
    """Where it lies now: `cuda`, `cpu`."""
    dtype: str = ""


class Residents(Event, frozen=True, kw_only=True):
    """What lies in a worker's memory, whole; told when it changes, and to everybody who attaches."""

    worker: str
    parts: tuple[ResidentPart, ...] = ()
    doing: str = ""
    """`loading wrong`, `unloading`, or nothing."""
    error: str = ""
    """Why the last `LoadModel` or `UnloadModel` failed, in words."""
    allocated_bytes: int | None = None
    """What the process's tensors take on its GPU, the above and all else; None without a GPU."""
    reserved_bytes: int | None = None
    """What torch holds there, unused room included."""


EphemeralEvent = StepProgress | Preview | Gauges | Residents
AnyEvent = DurableEvent | EphemeralEvent
