"""A daemon of scripts: answers as the contract says, and tells the events it was given."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from daemon.protocol import codec
from daemon.protocol.commands import (
    AnyCommand,
    AnyResult,
    Cancel,
    CreateSession,
    Drain,
    Draining,
    JobAnswer,
    Jobs,
    ListJobs,
    ListSessions,
    Pause,
    Ping,
    Pong,
    Prioritise,
    ReadEvents,
    ReadSession,
    Resume,
    SessionAnswer,
    SessionRow,
    Sessions,
    Steer,
    StoredEvents,
    Submitted,
    Welcome,
)
from daemon.protocol.effects import Effect
from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved, AnyEvent, ComparisonSaved, ImageSaved, JobRow, JobStateChanged, State, StepProgress
from daemon.protocol.specs import ImageRecord, ImageRequest, JobSpec, SessionSpec, job_specs
from negtui import cli
from negtui.commands.invocation import Told, Unreachable
from negtui.config import Settings

SPEC = msgspec.convert(
    {
        "model": {"base": "toy"},
        "synthesis": {"keywords": ["blurry", "cropped"], "guidance_scales": [5.0]},
        "training": {"max_train_steps": 4},
        "comparison": {"prompts": [{"prompt": "a star"}], "num_prompts": 1},
    },
    SessionSpec,
)

JOBS = job_specs("toy", SPEC)
EFFECT = Effect(
    metric="flaw_probability",
    arm="target",
    against="baseline",
    mean=0.135,
    mean_against=0.191,
    difference=-0.056,
    low=-0.079,
    high=-0.034,
    confidence=0.95,
    num_blocks=32,
    better="lower",
    verdict="better",
)


def moved(row: JobRow, state: State, **fields: object) -> JobStateChanged:
    return JobStateChanged(job=msgspec.structs.replace(row, state=state, **fields))


def image(row: JobRow, index: int, reused: bool) -> ImageSaved:
    request = ImageRequest(
        base_sha256="b", torch_dtype="float32", prompt="p", seed=0, guidance_scale=5, num_inference_steps=4, width=64, height=64
    )
    record = ImageRecord(id=f"{index}", path=f"dataset/{index}.png", sha256="0", request=request, keyword="blurry")
    return ImageSaved(job_id=row.id, session="toy", image=record, index=index, num_images=4, reused=reused)


def good(row: JobRow, reused: bool = False) -> Sequence[AnyEvent]:
    """A job that does what its kind does."""
    begun = moved(row, "running", started=100.0)
    ended = moved(row, "done", started=100.0, finished=160.0, timings={"paint": 58.0, "load": 1.5})
    kind = row.spec.__struct_config__.tag
    if kind == "train":
        adapter = AdapterSaved(
            job_id=row.id,
            session="toy",
            name="wrong",
            path="adapters/wrong/w.safetensors",
            sha256="ab" * 32,
            num_bytes=2**20,
            reused=reused,
        )
        steps = [StepProgress(job_id=row.id, phase="train", step=step, num_steps=4) for step in (1, 2, 4)]
        return [begun, *steps, adapter, ended]
    images = [image(row, index, reused) for index in range(4)]
    if kind == "synthesize":
        return [begun, *images, ended]
    saved = ComparisonSaved(
        job_id=row.id,
        session="toy",
        name="default",
        report_path="comparisons/default/report.html",
        sheet_path="comparisons/default/sheet.png",
        effects=(EFFECT,),
        verdict="The target \x1b[2Jbeats the baseline.",
    )
    return [begun, *images, saved, ended]


class FakeDaemon:
    """`script(row)` gives what happens after a job was submitted or resumed."""

    def __init__(self, script: Callable[[JobRow], Sequence[AnyEvent]] = lambda row: ()) -> None:
        self.jobs: list[JobRow] = []
        self.log: list[AnyEvent] = []
        self.asked: list[AnyCommand] = []
        self.submitted: list[tuple[JobSpec, tuple[str, ...]]] = []
        self.script = script
        self.refusal: NegError | None = None
        self.spec = SPEC
        self.warnings: tuple[str, ...] = ()
        self.is_closed = False
        self.started: bool | None = None
        self.pending: list[AnyEvent] = []
        self.interrupts = False
        """Press ctrl+c once all is told."""

    @property
    def welcome(self) -> Welcome:
        return Welcome(
            protocol=1, version="0", store_id="s", boot_id="b", head_seq=len(self.log), min_seq=1, sessions_path="/w/sessions", pid=7
        )

    async def connect(self, settings: Settings, start: bool, note: Callable[[str], None]) -> FakeDaemon:
        self.started = start
        if isinstance(self.refusal, Unreachable):
            raise self.refusal
        return self

    def add(self, spec: JobSpec, state: State = "queued", after: tuple[str, ...] = (), id: str = "", **fields: Any) -> JobRow:
        row = JobRow(id=id or f"job{len(self.jobs) + 1}", key="k" * 8, spec=spec, state=state, after=after, created=1.7e9, **fields)
        self.jobs.append(row)
        return row

    def change(self, job_id: str, state: State, **fields: Any) -> JobStateChanged:
        """Set a job's state, as an event that is not told yet."""
        number = next(number for number, row in enumerate(self.jobs) if row.id == job_id)
        self.jobs[number] = msgspec.structs.replace(self.jobs[number], state=state, **fields)
        return JobStateChanged(job=self.jobs[number])

    async def submit(self, spec: JobSpec, after: tuple[str, ...] = ()) -> Submitted:
        self.submitted.append((spec, after))
        row = self.add(spec, after=after)
        self.pending += self.script(row)
        return Submitted(job=row)

    async def request(self, command: AnyCommand) -> AnyResult:
        self.asked.append(command)
        if self.refusal is not None:
            raise self.refusal
        match command:
            case Ping():
                return Pong(boot_id="b", head_seq=len(self.log), workers={"worker": "ready"})
            case ListJobs():
                return Jobs(jobs=tuple(row for row in self.jobs if command.session in (None, row.spec.session)))
            case Steer():
                return JobAnswer(job=next(row for row in self.jobs if row.id == command.job_id))
            case Cancel() | Pause() | Resume() | Prioritise():
                return JobAnswer(job=self._steer(command))
            case ReadEvents():
                return self._stored(command)
            case ReadSession() | CreateSession():
                return SessionAnswer(name=command.name, path=f"/w/sessions/{command.name}", spec=self.spec, warnings=self.warnings)
            case ListSessions():
                return Sessions(sessions=(SessionRow(name="toy", num_images=36, adapters=("wrong",), description="\x1b[31mred\x1b[0m"),))
            case Drain():
                return Draining()
        raise AssertionError(f"{command} was not expected")

    async def events(self, since_seq: int) -> AsyncIterator[Told]:
        told, self.pending = self.pending, []
        for event in told:
            if isinstance(event, JobStateChanged):
                self.change(
                    event.job.id,
                    event.job.state,
                    **{name: getattr(event.job, name) for name in ("started", "finished", "timings", "error")},
                )
            self.log.append(event)
            yield Told(len(self.log), 1.7e9, event)
        if self.interrupts:
            signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.is_closed = True

    def _steer(self, command: Cancel | Pause | Resume | Prioritise) -> JobRow:
        states: dict[type, State] = {Cancel: "cancelled", Pause: "paused", Resume: "queued"}
        if isinstance(command, Prioritise):
            row = next(row for row in self.jobs if row.id == command.job_id)
            return self.change(command.job_id, row.state, priority=command.priority).job
        row = self.change(command.job_id, states[type(command)]).job
        if isinstance(command, Resume):
            self.pending += self.script(row)
        return row

    def _stored(self, command: ReadEvents) -> StoredEvents:
        """Two events a page, so that paging is walked."""
        found = [
            (seq, event)
            for seq, event in enumerate(self.log, start=1)
            if seq > command.since_seq and _job_of(event) == command.job_id and not type(event).__name__.startswith("Step")
        ][:2]
        return StoredEvents(
            seqs=tuple(seq for seq, _ in found),
            times=tuple(1.7e9 for _ in found),
            events=tuple(codec.encode(event) for _, event in found),
            head_seq=len(self.log),
        )


def _job_of(event: Any) -> str:
    return event.job.id if isinstance(event, JobStateChanged) else event.job_id


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def call(daemon: FakeDaemon, *argv: str, is_terminal: bool = False) -> tuple[int, str, str]:
    """Run the command line on a fake daemon: (exit code, stdout, stderr)."""
    stdout, stderr = (Terminal() if is_terminal else io.StringIO()), io.StringIO()
    code = cli.main(list(argv), connect=daemon.connect, stdout=stdout, stderr=stderr)
    return code, stdout.getvalue(), stderr.getvalue()
