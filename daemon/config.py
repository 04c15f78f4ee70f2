"""Where everything lies: the workspace, its state, its sockets. Set by environment, decided once per process."""

from __future__ import annotations

import hashlib
import math
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from daemon.protocol.errors import NegError

MAX_SOCKET_PATH_BYTES = 100  # the kernel allows 107; ZeroMQ keeps a few


@dataclass(frozen=True)
class Places:
    """The folders of one daemon: `sessions/` in the workspace, state (database, log) on a local disk, sockets in a 0700 directory."""

    workspace: Path
    state_path: Path
    runtime_path: Path

    @property
    def sessions_path(self) -> Path:
        return self.workspace / "sessions"

    @property
    def database_path(self) -> Path:
        return self.state_path / "neg.db"

    @property
    def log_path(self) -> Path:
        return self.state_path / "negd.log"

    @property
    def lock_path(self) -> Path:
        return self.runtime_path / "lock"

    @property
    def ctl_endpoint(self) -> str:
        return f"ipc://{self.runtime_path / 'ctl'}"

    @property
    def blob_endpoint(self) -> str:
        return f"ipc://{self.runtime_path / 'blob'}"


def source_root() -> Path | None:
    """The source checkout this package runs from, or None when it is installed as a wheel."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").is_file() and (root / "sessions").is_dir() else None


def places(workspace: str | Path | None = None) -> Places:
    """The places for a workspace: the argument, `NEGTUI_WORKSPACE`, the source checkout, or the user's data folder.

    `NEGTUI_STATE` and `NEGTUI_RUNTIME` move the state and the sockets. Raises `NegError` where a socket path would be too long.
    """
    chosen = workspace or os.environ.get("NEGTUI_WORKSPACE") or source_root() or platformdirs.user_data_path("negtui")
    root = Path(chosen).expanduser().resolve()
    state = Path(os.environ.get("NEGTUI_STATE") or root / ".negtui").expanduser().resolve()
    given = os.environ.get("NEGTUI_RUNTIME")
    runtime = Path(given) if given else _runtime_base() / hashlib.sha256(str(root).encode()).hexdigest()[:12]
    if len(os.fsencode(runtime / "blob")) > MAX_SOCKET_PATH_BYTES:
        raise NegError(
            "invalid", f"The socket folder {runtime} has too long a name.", "Set NEGTUI_RUNTIME to a shorter one, e.g. /tmp/neg."
        )
    return Places(workspace=root, state_path=state, runtime_path=runtime)


def environment_number(name: str, default: float, least: float = 0.0) -> float:
    """The number that a variable of the environment sets, else `default`. Raises `NegError` `invalid` unless it is one from `least` on."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < least:
        raise NegError("invalid", f"{name} is {text!r}.", f"Set it to a number from {least:g} on, or leave it out.")
    return number


def make_private_directory(path: Path) -> Path:
    """Create `path` with mode 0700, or check that it is ours, a directory, no link, and closed to others; raises `NegError`."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise NegError("invalid", f"{path} is not a directory of yours.", "Remove it, or set NEGTUI_RUNTIME.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def _runtime_base() -> Path:
    # /run/user/UID vanishes at the last logout unless lingering is on.
    user = os.environ.get("USER", "")
    xdg = os.environ.get("XDG_RUNTIME_DIR")
    if xdg and user and Path("/var/lib/systemd/linger", user).exists():
        return Path(xdg) / "negtui"
    return Path(tempfile.gettempdir()) / f"negtui-{os.getuid()}"
