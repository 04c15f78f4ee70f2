"""What people do to session folders by hand becomes an event: an edited `session.toml`, a dropped image, an adapter put there.

Files of running jobs are theirs to tell about. The folder may vanish and come back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Literal

from watchfiles import awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from daemon.files import TEMPORARY_PREFIX
from daemon.protocol.errors import NegError
from daemon.protocol.events import SessionChanged

DEBOUNCE_MILLISECONDS = 300
STEP_MILLISECONDS = 50
CHECK_MILLISECONDS = 3000
BUSY_TAIL_SECONDS = 3.0
OWN_FOLDERS = {("checkpoints",), ("cache",), ("metrics",), ("samples",), ("comparisons",), ("sweeps",)}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}

ChangeName = Literal["created", "edited", "invalid", "images", "adapters", "deleted"]

log = logging.getLogger(__name__)


class Watch:
    """Turns changed paths below `sessions_path` into `SessionChanged` events.

    `check(name)` reads a session and raises `NegError` in words; it runs in a thread. `busy()` names the sessions with a running job.
    """

    def __init__(
        self,
        sessions_path: Path,
        check: Callable[[str], object],
        append: Callable[[SessionChanged], Awaitable[object]],
        busy: Callable[[], Awaitable[Iterable[str]]],
    ) -> None:
        self._sessions_path = sessions_path
        self._check = check
        self._append = append
        self._busy = busy
        self._busy_until: dict[str, float] = {}
        self._known: dict[str, str] = {}

    async def run(self) -> None:
        """Watch for ever, whatever happens to the folder."""
        self._known = await asyncio.to_thread(self._scan)
        while True:
            try:
                is_first = True
                async for paths in changed_paths(self._sessions_path):
                    if is_first:
                        # What changed before the watch began, or while the folder was replaced.
                        await self.compare()
                    is_first = False
                    await self.note(paths)
                await self.compare()
            except (OSError, WatchfilesRustInternalError) as error:
                # The system may have no room for one more watch; what changes meanwhile is found by the next one.
                log.warning("Watching %s failed: %s", self._sessions_path, error)
            await asyncio.sleep(1.0)

    async def compare(self) -> None:
        """Tell what differs from what was known, by looking at every session."""
        found = await asyncio.to_thread(self._scan)
        for name in sorted({*found, *self._known}):
            await self._session_file(name)

    async def note(self, paths: Iterable[Path]) -> None:
        """Tell what a batch of changed paths means: one event per session and kind of change."""
        files: dict[str, bool] = {}
        dropped: dict[tuple[str, ChangeName], list[Path]] = {}
        for path in paths:
            parts = path.relative_to(self._sessions_path).parts
            if not parts or not is_interesting(self._sessions_path, str(path)):
                continue
            if len(parts) == 1 or parts[1] == "session.toml":
                files[parts[0]] = True
            elif parts[1] == "dataset" and path.suffix.lower() in IMAGE_SUFFIXES:
                dropped.setdefault((parts[0], "images"), []).append(path)
            elif parts[1] == "adapters" and path.suffix == ".safetensors":
                dropped.setdefault((parts[0], "adapters"), []).append(path)
        busy = await self._busy_now()
        for name in files:
            await self._session_file(name)
        for (name, change), changed in dropped.items():
            if name not in busy and name in self._known:
                await self._tell(name, change, changed[0], f"{len(changed)} file{'s' if len(changed) > 1 else ''}")

    async def _busy_now(self) -> set[str]:
        """Sessions whose files a job writes, and those where one did a moment ago: notices come late."""
        now = time.monotonic()
        self._busy_until.update(dict.fromkeys(await self._busy(), now + BUSY_TAIL_SECONDS))
        self._busy_until = {name: until for name, until in self._busy_until.items() if until > now}
        return set(self._busy_until)

    async def _session_file(self, name: str) -> None:
        path = self._sessions_path / name / "session.toml"
        before = self._known.get(name)
        content = await asyncio.to_thread(fingerprint, path)
        if content is None:
            if self._known.pop(name, None) is not None:
                await self._tell(name, "deleted", path, "")
            return
        if content == before:
            return
        self._known[name] = content
        try:
            await asyncio.to_thread(self._check, name)
        except NegError as error:
            await self._tell(name, "invalid", path, str(error))
        else:
            await self._tell(name, "edited" if before is not None else "created", path, "")

    async def _tell(self, name: str, change: ChangeName, path: Path, message: str) -> None:
        relative = str(path.relative_to(self._sessions_path / name))
        await self._append(SessionChanged(session=name, change=change, path=relative, message=message[:2000]))

    def _scan(self) -> dict[str, str]:
        found = {}
        for path in self._sessions_path.glob("*/session.toml"):
            content = fingerprint(path)
            if content is not None:
                found[path.parent.name] = content
        return found


def fingerprint(path: Path) -> str | None:
    """A hash of a file's contents; None where there is none to read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


async def changed_paths(folder: Path) -> AsyncIterator[set[Path]]:
    """Batches of changed paths below `folder`, debounced, an empty one every few seconds; ends when `folder` is another directory."""
    folder.mkdir(parents=True, exist_ok=True)
    # Held open, its inode cannot become another directory's.
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        async for changes in awatch(
            folder,
            watch_filter=lambda change, path: is_interesting(folder, path),
            debounce=DEBOUNCE_MILLISECONDS,
            step=STEP_MILLISECONDS,
            rust_timeout=CHECK_MILLISECONDS,
            yield_on_timeout=True,
        ):
            yield {Path(path) for _, path in changes}
            if not is_same_directory(folder, os.fstat(held)):
                return
    finally:
        os.close(held)


def is_interesting(folder: Path, path: str) -> bool:
    """Whether a change below `folder` may concern people: temporary files, thumbnails, caches, checkpoints and results do not."""
    parts = Path(path).relative_to(folder).parts
    hidden = any(part.startswith(TEMPORARY_PREFIX) or part == ".thumbnails" for part in parts)
    return not hidden and parts[1:2] not in OWN_FOLDERS and not path.endswith(("~", ".swp", ".jsonl"))


def is_same_directory(folder: Path, held: os.stat_result) -> bool:
    """Whether `folder` still is the directory that `held` describes."""
    try:
        found = folder.stat()
    except OSError:
        return False
    return os.path.samestat(found, held)
