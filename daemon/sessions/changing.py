"""A session's settings changed by program: where they stand, comments kept, checked before a byte is written, never half written."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from daemon.files import write_atomic_with
from daemon.protocol.commands import SessionAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SessionSpec
from daemon.sessions.checking import warnings
from daemon.sessions.making import apply_changes
from daemon.sessions.reading import SESSION_FILE, label, parse, read_text


def change(sessions_path: Path, name: str, changes: dict[str, str], skip_checks: bool = False) -> SessionAnswer:
    """Change settings (`section.field` -> TOML value as text; `none` takes one away) in a session's file.

    A file with a wrong setting can be changed, so that the setting can be put right. Raises `NegError` `not_found`, `invalid` (the
    change, or what the file then says), or what `checking.warnings` raises; then nothing is written.
    """
    before = read_text(sessions_path, name)
    after = apply_changes(before, changes, label(sessions_path, name))
    return _write(sessions_path, name, before, after, skip_checks)


def write(sessions_path: Path, name: str, text: str, sha256: str) -> SessionAnswer:
    """Replace a session's text if it still is the one of this hash. Raises `NegError` `conflict`, `not_found`, `invalid`.

    Only what can be read is required of it: a person may save what cannot run yet.
    """
    before = read_text(sessions_path, name)
    if hashlib.sha256(before.encode()).hexdigest() != sha256:
        raise NegError(
            "conflict", f"{label(sessions_path, name)} was changed by somebody else meanwhile.", "Read it again, then change it."
        )
    return _write(sessions_path, name, before, text, skip_checks=True)


def preview(sessions_path: Path, name: str, changes: dict[str, str]) -> SessionSpec:
    """What a session would be with changes that are not written. Raises `NegError` `not_found` or `invalid`."""
    where = label(sessions_path, name)
    text = read_text(sessions_path, name)
    return parse(apply_changes(text, changes, where) if changes else text, where)


def _write(sessions_path: Path, name: str, before: str, after: str, skip_checks: bool) -> SessionAnswer:
    folder = sessions_path / name
    spec = parse(after, label(sessions_path, name))
    found = () if skip_checks else tuple(warnings(spec, folder))
    if after != before:
        _replace(folder / SESSION_FILE, after.encode())
    return SessionAnswer(name=name, path=str(folder), spec=spec, warnings=found)


def _replace(path: Path, content: bytes) -> None:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise NegError("invalid", f"{path} is a link, not the file itself.", "Edit the file where it lies.")

    def fill(temporary: Path) -> None:
        with temporary.open("xb") as file:
            file.write(content)
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))

    write_atomic_with(path, fill)
