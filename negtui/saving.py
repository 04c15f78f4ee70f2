"""A finished comparison's files brought here: report, sheets, tables, wherever the daemon runs. No Textual."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath

from daemon.protocol.commands import ComparisonAnswer
from daemon.protocol.errors import NegError
from negtui.packing import Fetch

BESIDE = ("report.md", "metrics.csv", "cells.json")
"""Beside the report; comparisons of earlier versions may lack some."""


async def save_results(fetch: Fetch, answer: ComparisonAnswer, folder: Path) -> list[Path]:
    """Write them to `folder/SESSION-COMPARISON/`, in the place of earlier ones; returns where, the report first.

    Raises `NegError`: `not_found` (there is no report), `invalid` (nothing can be written there), or what fetching raises.
    """
    if not answer.report_path:
        raise NegError("not_found", f"{answer.session}/{answer.name} has no report yet.", "It is written when the comparison ends.")
    target = folder.expanduser() / f"{answer.session}-{answer.name}"
    beside = [str(PurePosixPath(answer.report_path).with_name(name)) for name in BESIDE]
    saved = []
    for path in (answer.report_path, *answer.sheet_paths, *beside):
        try:
            content = await fetch(answer.session, path)
        except NegError as error:
            if error.detail.code != "not_found" or path not in beside:
                raise
            continue
        saved.append(_write(target / PurePosixPath(path).name, content))
    return saved


def _write(path: Path, content: bytes) -> Path:
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise NegError("invalid", f"{path} cannot be written: {error.strerror}.", "Name another folder.") from None
    return path
