"""The points of a training curve: a file of JSON lines, and the aligned batches that are told as events."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from daemon.files import disk_full_in_words, sync_directory, write_atomic
from daemon.protocol.events import MetricsRecorded

BATCH_STEPS = 10


class Point(msgspec.Struct, frozen=True):
    """One optimizer step, from 1: mean loss of its micro-steps, the rate it was taken with, the gradient's norm before clipping."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float


def read_points(path: Path, last_step: int) -> list[Point]:
    """The points of steps 1..`last_step`, in order and once each; lines torn by a crash are left out."""
    found: dict[int, Point] = {}
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            point = msgspec.json.decode(line, type=Point)
        except msgspec.MsgspecError:
            continue
        found[point.step] = point
    return [found[step] for step in sorted(found) if 1 <= step <= last_step]


class MetricsFile:
    """The run's points, appended step by step. Opened at a step, it forgets what lies after it: no point stands twice."""

    def __init__(self, path: Path, last_step: int) -> None:
        self.points = read_points(path, last_step)
        self._path = path
        write_atomic(path, b"".join(_line(point) for point in self.points))
        self._file: IO[bytes] = path.open("ab")

    def append(self, point: Point) -> None:
        """Add the next step; on disk after a whole batch, durable after `sync`."""
        self.points.append(point)
        with disk_full_in_words(self._path):
            self._file.write(_line(point))
            if point.step % BATCH_STEPS == 0:
                self._file.flush()

    def sync(self) -> None:
        """Make all points so far outlive a power loss; called before a checkpoint says that they exist."""
        with disk_full_in_words(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            sync_directory(self._path.parent)

    def close(self) -> None:
        self._file.close()


def aligned_batches(job_id: str, points: Sequence[Point], num_steps: int) -> Iterator[MetricsRecorded]:
    """Events of the whole batches among `points`: steps 1-10, 11-20, ... and the rest up to `num_steps`.

    A batch is told only when all its steps are there, so that every telling of it, before or after a crash, is the same.
    """
    batch: list[Point] = []
    for point in points:
        if batch and point.step != batch[-1].step + 1:
            batch = []
        batch.append(point)
        if point.step % BATCH_STEPS == 0 or point.step == num_steps:
            if batch[0].step % BATCH_STEPS == 1:
                yield _event(job_id, batch)
            batch = []


def last_batch(points: Sequence[Point]) -> Sequence[Point]:
    """The points of the batch that the newest point belongs to."""
    begin = (points[-1].step - 1) // BATCH_STEPS * BATCH_STEPS
    return [point for point in points[-BATCH_STEPS:] if point.step > begin]


def _event(job_id: str, batch: Sequence[Point]) -> MetricsRecorded:
    names = ("loss", "learning_rate", "grad_norm")
    values = {name: tuple(getattr(point, name) for point in batch) for name in names}
    return MetricsRecorded(job_id=job_id, steps=tuple(point.step for point in batch), values=values)


def _line(point: Point) -> bytes:
    return msgspec.json.encode(point) + b"\n"
