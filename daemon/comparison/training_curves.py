"""How the adapters of a comparison were trained: separation and leak, from the session's own files. Torch-free.

`adapters/NAME/training.json` tells the fingerprint of the training, `metrics/NAME-<first 8 digits of it>.jsonl` what was measured in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from daemon.protocol.diagnosis import TrainingCurves


class _Record(msgspec.Struct, frozen=True):
    """As much of `training.json` as is needed."""

    fingerprint: str
    step: int | None = None


class _Line(msgspec.Struct, frozen=True):
    """A line of the metrics; that of a step's loss has no `values`."""

    step: int
    values: dict[str, float] = {}


def read_training_curves(session_path: Path, adapters: Iterable[str]) -> tuple[TrainingCurves, ...]:
    """Of each adapter that was trained here and measured meanwhile (`training.validation_steps`), up to the step whose weights it holds."""
    found = (_curves(session_path, name) for name in dict.fromkeys(adapters))
    return tuple(curves for curves in found if curves is not None)


def _curves(session_path: Path, name: str) -> TrainingCurves | None:
    try:
        record = msgspec.json.decode((session_path / "adapters" / name / "training.json").read_bytes(), type=_Record)
        content = (session_path / "metrics" / f"{name}-{record.fingerprint[:8]}.jsonl").read_bytes()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        # An adapter from elsewhere, or of a version that measured nothing.
        return None
    measured = {line.step: line.values for line in _lines(content) if {"separation", "leak"} <= line.values.keys()}
    steps = tuple(step for step in sorted(measured) if record.step is None or step <= record.step)
    if not steps:
        return None
    separation, leak = (tuple(measured[step][name] for step in steps) for name in ("separation", "leak"))
    return TrainingCurves(adapter=name, steps=steps, separation=separation, leak=leak)


def _lines(content: bytes) -> Iterator[_Line]:
    """Torn lines are left out."""
    for raw in content.split(b"\n"):
        try:
            yield _line_decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue


_line_decoder = msgspec.json.Decoder(_Line)
