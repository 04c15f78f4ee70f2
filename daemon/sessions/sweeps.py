"""What a finished sweep holds, read from its `summary.json`. How it was made is not known here."""

from __future__ import annotations

from pathlib import Path

import msgspec

from daemon.protocol.commands import ReadSweep, SweepAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.sweeps import SweepTable
from daemon.sessions.allowed import did_you_mean
from daemon.sessions.reading import require_session

SWEEPS_FOLDER = "sweeps"
MAX_FILE_BYTES = 4 * 2**20


class _Summary(msgspec.Struct, frozen=True, kw_only=True):
    """As much of `summary.json` as is told."""

    table: SweepTable


def read_sweep(sessions_path: Path, command: ReadSweep) -> SweepAnswer:
    """A sweep's table. Raises `NegError` `not_found` (none of this name is finished) or `corrupt`."""
    folder = require_session(sessions_path, command.session) / SWEEPS_FOLDER
    path = folder / command.name / "summary.json"
    if not path.is_file():
        known = sorted(one.parent.name for one in folder.glob("*/summary.json"))
        message = f"No sweep {command.name!r} is finished in {command.session}: {did_you_mean(command.name, known)}"
        raise NegError("not_found", message, f"Make it: negtui sweep {command.session}")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES // 2**20} MiB")
        table = msgspec.json.decode(path.read_bytes(), type=_Summary).table
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        message = f"The summary of the sweep {command.name!r} cannot be read: {type(error).__name__}: {error}"
        raise NegError("corrupt", message[:500], f"Make it anew: negtui sweep {command.session}") from None
    return SweepAnswer(session=command.session, folder=f"{SWEEPS_FOLDER}/{command.name}", table=table)
