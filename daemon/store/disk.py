"""The disk under the database: local or refused, and a reserve that is given up when it is full."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

from daemon.protocol.errors import NegError

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)
LOCAL_FUSE = frozenset({"fuseblk", "fuse.fuse-overlayfs"})
RESTORE_SECONDS = 5.0


def require_local_disk(folder: Path, mounts: Path = MOUNTS) -> None:
    """Refuse network and user-space file systems, where SQLite's locks and WAL do not hold; raises `NegError` `invalid`."""
    kind = file_system(folder, mounts)
    if kind in NETWORK or (kind.startswith("fuse") and kind not in LOCAL_FUSE):
        raise NegError(
            "invalid",
            f"{folder} lies on {kind}, a network or user-space file system, where the database would not be safe.",
            "Set NEGTUI_STATE to a folder on a local disk; sessions may stay where they are.",
        )


def file_system(folder: Path, mounts: Path = MOUNTS) -> str:
    """Type of the file system that holds `folder` (`ext4`, `nfs4`, `fuse.sshfs`, ...); empty where it cannot be told."""
    if not mounts.exists():
        return ""
    resolved, best, kind = folder.resolve(), Path("/"), ""
    for line in mounts.read_text(errors="surrogateescape").splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        mount = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4]))
        # Later lines cover earlier ones on the same mount point.
        if resolved.is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, after.split(" ")[0]
    return kind


class Ballast:
    """A file of `num_bytes` that keeps room for one more transaction: deleted when the disk is full, made again when it is not."""

    def __init__(self, path: Path, num_bytes: int) -> None:
        self.path = path
        self.num_bytes = num_bytes
        self._tried = float("-inf")

    def release(self) -> bool:
        """Give the room up; returns whether there was any."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        self._tried = time.monotonic()
        return True

    def restore(self) -> None:
        """Reserve the room, if it is not and the disk has four times as much free. Looks at most every few seconds."""
        if self.num_bytes == 0 or time.monotonic() - self._tried < RESTORE_SECONDS or self.path.exists():
            return
        self._tried = time.monotonic()
        if shutil.disk_usage(self.path.parent).free < 4 * self.num_bytes:
            return
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.num_bytes)
        except OSError:
            self.path.unlink(missing_ok=True)  # somebody else took the room meanwhile: tried again later
        finally:
            os.close(descriptor)
