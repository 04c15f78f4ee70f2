"""A session taken away for good: out of sight in one step, then its bytes. Never anything outside the folder of sessions.

Whether a job still needs it is asked by the caller; `hide` is meant to be called where no job can begin meanwhile.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from daemon import config
from daemon.files import TEMPORARY_PREFIX, sync_directory
from daemon.protocol.errors import NegError
from daemon.sessions.making import SHIPPED
from daemon.sessions.reading import not_there, require_name

GONE_PREFIX = f"{TEMPORARY_PREFIX}gone-"


def require_removable(sessions_path: Path, name: str, typed: str) -> None:
    """Raise `NegError`: `invalid` (typed otherwise, or a session that ships in this very checkout), `not_found`."""
    require_name(name)
    if typed != name:
        raise NegError("invalid", f"{typed!r} was typed, the session is called {name!r}: nothing is deleted.", "Type its name exactly.")
    if not os.path.lexists(sessions_path / name):
        raise not_there(sessions_path, name)
    root = config.source_root()
    if name in SHIPPED and root is not None and (root / "sessions").resolve() == sessions_path.resolve():
        raise NegError("invalid", f"{name!r} ships with negtui: other sessions are made from it.", "Remove it by hand if you must.")


def hide(sessions_path: Path, name: str) -> Path:
    """Take a session out of sight, durably; returns where it lies now. Raises `NegError` `not_found`."""
    hidden = sessions_path / f"{GONE_PREFIX}{secrets.token_hex(8)}"
    try:
        (sessions_path / name).rename(hidden)
    except FileNotFoundError:
        raise not_there(sessions_path, name) from None
    except OSError as error:
        raise NegError(
            "invalid", f"{sessions_path / name} cannot be removed: {error.strerror}.", "Look at its owner, or at a mount."
        ) from None
    sync_directory(sessions_path)
    return hidden


def remove(hidden: Path) -> int:
    """Remove what `hide` gave; returns the bytes that were freed. Of a link to elsewhere only the link goes."""
    if hidden.is_symlink() or not hidden.is_dir():
        hidden.unlink(missing_ok=True)
        return 0
    num_bytes = sum(path.lstat().st_size for path in _walk(hidden))
    shutil.rmtree(hidden)
    return num_bytes


def leftovers(sessions_path: Path) -> list[Path]:
    """What an earlier daemon left half made or half removed: to be asked before anything is made here, and then given to `remove`."""
    return sorted(sessions_path.glob(f"{TEMPORARY_PREFIX}*"))


def _walk(folder: Path) -> list[Path]:
    return [Path(top) / name for top, _, names in os.walk(folder) for name in names]
