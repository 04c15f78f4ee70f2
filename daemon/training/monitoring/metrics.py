"""What a training measures: a file of JSON lines (a point every step, measurements now and then), and the same told as events.

Knows nothing of how anything is measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from daemon.files import disk_full_in_words, sync_directory, write_atomic
from daemon.protocol.events import MetricsRecorded

BATCH_STEPS = 10
CURVES = ("loss", "learning_rate", "grad_norm", "adapter_norm")


class Point(msgspec.Struct, frozen=True, omit_defaults=True):
    """One optimizer step, from 1: mean loss of its micro-steps, the rate it was taken with, the gradient's norm before clipping."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    adapter_norm: float | None = None
    """L2 norm of all trained weights after the step; None in files of versions that did not tell it."""


class Measurement(msgspec.Struct, frozen=True):
    """What was found at a step (0: before training) by names: `held_out_loss`, `separation`, `leak`, `sampled_gain`, ..."""

    step: int
    values: dict[str, float]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.values)


def read_points(path: Path, last_step: int) -> list[Point]:
    """The points of steps 1..`last_step`, in order and once each; other lines, and those torn by a crash, are left out."""
    found = {line.step: line for line in _read(path) if isinstance(line, Point)}
    return [found[step] for step in sorted(found) if 1 <= step <= last_step]


def read_measurements(path: Path, last_step: int) -> list[Measurement]:
    """The measurements up to `last_step`, by step and then as they came; of two of the same step and names the last counts."""
    found = {(line.step, line.names): line for line in _read(path) if isinstance(line, Measurement)}
    return sorted((line for line in found.values() if line.step <= last_step), key=lambda line: line.step)


class MetricsFile:
    """The run's points and measurements, appended as they come. Opened at a step, it forgets what lies after it: nothing stands twice."""

    def __init__(self, path: Path, last_step: int) -> None:
        self.points = read_points(path, last_step)
        self.measurements = read_measurements(path, last_step)
        self._path = path
        self._file: IO[bytes] | None = None
        self._rewrite()

    def append(self, point: Point) -> None:
        """Add the next step; on disk after a whole batch, durable after `sync`."""
        self.points.append(point)
        self._write(_line(point), flush=point.step % BATCH_STEPS == 0)

    def measure(self, measurement: Measurement) -> None:
        """Add what was measured after the newest point; measured once more, it takes the place of what it was."""
        places = [place for place, one in enumerate(self.measurements) if (one.step, one.names) == (measurement.step, measurement.names)]
        if not places:
            self.measurements.append(measurement)
            self._write(_line(measurement), flush=True)
        elif self.measurements[places[0]] != measurement:
            self.measurements[places[0]] = measurement
            self._rewrite()

    def sync(self) -> None:
        """Make all so far outlive a power loss; called before a checkpoint says that it exists."""
        assert self._file is not None
        with disk_full_in_words(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            sync_directory(self._path.parent)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, line: bytes, *, flush: bool) -> None:
        assert self._file is not None
        with disk_full_in_words(self._path):
            self._file.write(line)
            if flush:
                self._file.flush()

    def _rewrite(self) -> None:
        """Step by step, a step's point before what was measured after it: the order in which an undisturbed run writes them."""
        self.close()
        lines: list[Point | Measurement] = [*self.points, *self.measurements]
        lines.sort(key=lambda line: (line.step, isinstance(line, Measurement)))
        write_atomic(self._path, b"".join(_line(line) for line in lines))
        self._file = self._path.open("ab")


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
    if not points:
        return ()
    begin = (points[-1].step - 1) // BATCH_STEPS * BATCH_STEPS
    return [point for point in points[-BATCH_STEPS:] if point.step > begin]


def measured(job_id: str, measurements: Sequence[Measurement]) -> Iterator[MetricsRecorded]:
    """An event per measurement."""
    for one in measurements:
        yield MetricsRecorded(job_id=job_id, steps=(one.step,), values={name: (value,) for name, value in one.values.items()})


def _event(job_id: str, batch: Sequence[Point]) -> MetricsRecorded:
    curves = {name: tuple(getattr(point, name) for point in batch) for name in CURVES}
    values = {name: curve for name, curve in curves.items() if None not in curve}
    return MetricsRecorded(job_id=job_id, steps=tuple(point.step for point in batch), values=values)


def _read(path: Path) -> Iterator[Point | Measurement]:
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        for decoder in (_point_decoder, _measurement_decoder):
            try:
                yield decoder.decode(line)
                break
            except (msgspec.MsgspecError, ValueError):
                continue


def _line(line: Point | Measurement) -> bytes:
    return msgspec.json.encode(line) + b"\n"


_point_decoder = msgspec.json.Decoder(Point)
_measurement_decoder = msgspec.json.Decoder(Measurement)
