"""Sweeps in a person's words: axes as written on the command line made into a spec, and a finished one as a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from daemon.protocol.commands import SweepAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SessionSpec, SweepJob, sweep_job
from daemon.protocol.sweep_spec import FINISHED, SweepSpec, require_sound_sweep
from daemon.protocol.sweeps import SweepCell
from negtui.output import table

VERDICTS = {"best": "best", "worse": "worse", "unclear": "not clearly worse"}


def sweep_spec(declared: SweepSpec | None, changes: Mapping[str, object]) -> SweepSpec:
    """The declared sweep, or one of defaults, with those changes that are not None.

    Checkpoints may be `final`, windows are `0-0.8`; numbers may be text. Raises `NegError` `invalid`.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    if "checkpoints" in given:
        given["checkpoints"] = [None if one == FINISHED else one for one in _words(given["checkpoints"])]
    if "guidance_windows" in given:
        given["guidance_windows"] = [_window(one) for one in _words(given["guidance_windows"])]
    try:
        spec = msgspec.convert({**msgspec.to_builtins(declared or SweepSpec()), **given}, SweepSpec, strict=False)
    except msgspec.ValidationError as error:
        message = f"This is no sweep: {str(error).replace(' - at `$.', ', in `')}."
        raise NegError("invalid", message, "As --weights 0.5 1 --guidance-scales 5 7.5 --windows 0-0.8 --checkpoints 100 final.") from None
    require_sound_sweep(spec)
    return spec


def job_of(session: str, spec: SessionSpec, sweep: SweepSpec) -> SweepJob:
    """The job of a sweep on the session's comparison. Raises `NegError` `invalid` where it declares none."""
    if spec.comparison is None:
        raise NegError("invalid", f"{session} has no [comparison], whose prompts and seeds a sweep is painted on.", "Add that section.")
    return sweep_job(session, spec.model, sweep, spec.comparison)


def sweep_lines(answer: SweepAnswer) -> list[str]:
    """A finished sweep: what was swept, a row a cell, the verdict."""
    found = answer.table
    right = frozenset(range(len(found.axes) + 2))
    rows = [
        (
            *(cell.values[axis] for axis in found.axes),
            str(cell.num_blocks),
            f"{cell.means[found.metric]:.4g}" if found.metric in cell.means else "",
            _against(cell),
            cell.stopped or VERDICTS[cell.verdict],
        )
        for cell in found.cells
    ]
    headings = (*found.axes, "blocks", found.metric, f"to the best, {found.confidence:.0%}", "")
    return [
        f"{answer.session}: sweep {found.name!r}, {len(found.cells)} cells, {found.num_blocks} blocks, {found.num_pictures} pictures",
        *table(headings, rows, indent="  ", right=right),
        "",
        f"Verdict   {found.verdict}",
    ]


def _against(cell: SweepCell) -> str:
    if cell.difference is None:
        return ""
    interval = f" [{cell.low:+.3g}, {cell.high:+.3g}]" if cell.low is not None and cell.high is not None else ""
    return f"{cell.difference:+.3g}{interval}"


def _words(values: object) -> Sequence[object]:
    return values if isinstance(values, list | tuple) else [values]


def _window(text: object) -> object:
    """`0-0.8` as its two ends; what is no text stays."""
    return [part.strip() for part in text.split("-", 1)] if isinstance(text, str) else text
