"""The other processes of a training, seen from the first: started, waited for, ended. Knows nothing of what they compute.

They hold nothing that is not in the first one or in a checkpoint, so that ending them is killing them. What they have to say lies as files
in a folder of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch

import daemon
from daemon import models
from daemon.failures import ProcessUnfit, explain
from daemon.files import write_atomic
from daemon.protocol.errors import ErrorDetail, NegError
from daemon.protocol.events import StepProgress
from daemon.protocol.specs import TrainJob
from daemon.recipe import JobContext
from daemon.training.accelerated import PeerLost, accelerated
from daemon.training.checkpoint import temporary_path
from daemon.training.plan import TrainingPlan
from daemon.training.trainer import Trainer

START_SECONDS = 900.0
"""To import torch, load the model and read the images; slow disks are many times faster."""
STDERR = 2
LOOK_SECONDS = 0.1
LAST_WORDS_SECONDS = 10.0
"""How long a process that is gone from the others may take to exit."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """`part.json`: what a companion takes part in. `step`: of the checkpoint it begins from; 0: of none."""

    job: TrainJob
    session_path: str
    cache_path: str
    fingerprint: str
    step: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """`told-1.json`: how it is with companion 1. Ready to take steps, or why not."""

    error: ErrorDetail | None = None


def part_path(folder: Path) -> Path:
    """Where companions find what they take part in."""
    return folder / "part.json"


def told_path(folder: Path, rank: int) -> Path:
    """Where a companion tells how it is with it."""
    return folder / f"told-{rank}.json"


def rendezvous_path(folder: Path) -> Path:
    """Where all processes meet."""
    return folder / "rendezvous"


@contextlib.contextmanager
def accompanied(plan: TrainingPlan, context: JobContext, trainer: Trainer) -> Iterator[None]:
    """Inside, `trainer` can compute; it takes its steps together with `num_processes` - 1 others that stand where it does, if any are left.

    Raises `NegError` with what a companion could not do, `ProcessUnfit` where one is gone without a word, `Interrupted` while they load.
    """
    num_processes = plan.spec.num_processes
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(_share_of_threads(num_processes)) if trainer.device.type == "cpu" else None
        if num_processes == 1 or trainer.step == plan.spec.max_train_steps:
            trainer.join(stack.enter_context(accelerated(trainer.device, trainer.dtype)))
            yield
            return
        companions = stack.enter_context(_started(plan, context, trainer.step, threads))
        with context.phase("load"):
            companions.wait(context)
        companions.watch()
        try:
            meeting_path = rendezvous_path(companions.folder)
            trainer.join(stack.enter_context(accelerated(trainer.device, trainer.dtype, 0, num_processes, meeting_path)))
            yield
            return
        except PeerLost as error:
            lost = error
        raise companions.why_lost() from lost


@contextlib.contextmanager
def _started(plan: TrainingPlan, context: JobContext, step: int, num_threads: int | None) -> Iterator[Companions]:
    """Companions on their way to `step`, with a folder of their own; both are gone afterwards."""
    folder = temporary_path(plan.checkpoints_path)
    folder.mkdir(mode=0o700, parents=True)
    companions = Companions(folder, [])
    try:
        companions.start(_part(plan, context, step), plan.spec.num_processes, num_threads)
        yield companions
    finally:
        companions.end()


@dataclass
class Companions:
    """Processes 1, 2, ... of a training; process 0 is this one."""

    folder: Path
    processes: list[subprocess.Popen[bytes]]
    _is_over: threading.Event = field(default_factory=threading.Event)

    def start(self, part: Part, num_processes: int, num_threads: int | None) -> None:
        """Start them on the GPUs after the first, or with so many threads on the CPU."""
        write_atomic(part_path(self.folder), msgspec.json.encode(part), durable=False)
        root = str(Path(daemon.__file__).resolve().parent.parent)
        shared = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
        if num_threads is not None:
            shared["OMP_NUM_THREADS"] = str(num_threads)
        for rank in range(1, num_processes):
            own = {} if num_threads is not None else {"CUDA_VISIBLE_DEVICES": models.visible_gpus()[rank]}
            command = [sys.executable, "-m", "daemon.training.accompany", str(self.folder), str(rank)]
            self.processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=STDERR, env=shared | own))

    def wait(self, context: JobContext) -> None:
        """Until all are ready to take steps. Raises as `accompanied`."""
        until, told = time.monotonic() + START_SECONDS, -1.0
        while (num_ready := sum(told_path(self.folder, rank).is_file() for rank in self._ranks)) < len(self.processes):
            context.check()
            if any(process.poll() is not None for process in self.processes):
                raise self.why_lost()
            if time.monotonic() > until:
                raise ProcessUnfit(f"The processes of the training were not ready within {START_SECONDS:.0f} s.")
            if time.monotonic() - told > 1.0:
                context.tell(StepProgress(job_id=context.job_id, phase="load", step=num_ready, num_steps=len(self.processes)))
                told = time.monotonic()
            time.sleep(LOOK_SECONDS)
        if said := self._said():
            raise said

    def watch(self, give_up: Callable[[Exception], object] = explain) -> None:
        """Until they are ended: give up, and with it this process, as soon as one is gone without a word."""
        threading.Thread(target=self._watch, args=(give_up,), name="companions", daemon=True).start()

    def why_lost(self) -> Exception:
        """What to raise where one of them is gone: its own words, or how it ended."""
        until = time.monotonic() + LAST_WORDS_SECONDS
        # Code 0: it left because of another, which may still be about to say why.
        while self._said() is None and not any(process.poll() for process in self.processes) and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        codes = {rank + 1: process.poll() for rank, process in zip(self._ranks, self.processes, strict=True)}
        gone = [f"process {number} ended with code {code}" for number, code in codes.items() if code is not None]
        unfit = ProcessUnfit(f"A process that trained with this one is lost ({', '.join(gone) or 'all still run'}).")
        return self._said() or unfit

    def end(self) -> None:
        """Kill them."""
        self._is_over.set()
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _watch(self, give_up: Callable[[Exception], object]) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            # 0: it left because of another, or of what this process found too.
            if any(process.poll() for process in self.processes) and not self._is_over.is_set():
                why = self.why_lost()
                # What it said is left to the next step, which fails for want of it.
                if isinstance(why, ProcessUnfit):
                    give_up(why)
                return

    @property
    def _ranks(self) -> Sequence[int]:
        return range(1, len(self.processes) + 1)

    def _said(self) -> NegError | None:
        """What the first of them that could not go on said."""
        for rank in self._ranks:
            error = self._told(rank)
            if error is not None:
                message = f"Process {rank + 1} of {len(self.processes) + 1}: {error.message}"
                return NegError(error.code, message, error.hint, retryable=error.retryable)
        return None

    def _told(self, rank: int) -> ErrorDetail | None:
        path = told_path(self.folder, rank)
        return msgspec.json.decode(path.read_bytes(), type=Told).error if path.is_file() else None


def _part(plan: TrainingPlan, context: JobContext, step: int) -> Part:
    if context.cache_path is None:
        raise ValueError("a context without cache_path has no companions")
    cache_path = str(context.cache_path)
    return Part(job=plan.job, session_path=str(plan.session_path), cache_path=cache_path, fingerprint=plan.fingerprint, step=step)


@contextlib.contextmanager
def _share_of_threads(num_processes: int) -> Iterator[int]:
    """Compute with this process's share of its threads inside: as many in each."""
    before = torch.get_num_threads()
    share = max(1, before // num_processes)
    torch.set_num_threads(share)
    try:
        yield share
    finally:
        torch.set_num_threads(before)
