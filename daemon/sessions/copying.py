"""A session under a second name: all that belongs to the experiment, without what can be computed again."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from daemon.files import TEMPORARY_PREFIX, require_space
from daemon.protocol import codec
from daemon.protocol.commands import FileRow, Files, ListFiles, SessionAnswer
from daemon.sessions.making import copy_prompts, drafted, require_free
from daemon.sessions.reading import SESSION_FILE, label, parse, read_text, require_name, require_session

LEFT_OUT = frozenset({"cache", "checkpoints"})
PIECE_BYTES = 2**24


def duplicate(sessions_path: Path, name: str, new_name: str, settings_only: bool = False) -> SessionAnswer:
    """Copy `name` to `new_name`: pictures, adapters, comparisons and all; `settings_only`: its settings and prompts. Whole, or not at all.

    Links are copied as links. A session whose file is wrong is not copied. Raises `NegError` `not_found`, `invalid`, `conflict` (the
    name is taken), `disk_full`.
    """
    text = read_text(sessions_path, name)
    spec = parse(text, label(sessions_path, name))
    require_name(new_name)
    origin, folder = sessions_path / name, sessions_path / new_name
    require_free(folder, "Choose another name, or delete that session.")
    with drafted(folder, "Choose another name, or delete that session.") as draft:
        if settings_only:
            copy_prompts(origin, draft, spec)
        else:
            require_space(sessions_path, sum(found.st_size for _, found in files_of(origin)))
            _copy(origin, draft)
        (draft / SESSION_FILE).write_text(text, encoding="utf-8", newline="")
    return SessionAnswer(name=new_name, path=str(folder), spec=spec)


def list_files(sessions_path: Path, command: ListFiles) -> Files:
    """A page of what belongs to a session, by path. Links are counted, not listed: they lead out. Raises `NegError` `not_found`."""
    origin = require_session(sessions_path, command.name)
    left_out = LEFT_OUT - set(command.also)
    rows, num_links = [], 0
    for path, found in files_of(origin, left_out):
        if stat.S_ISLNK(found.st_mode):
            num_links += 1
        else:
            rows.append(FileRow(path=path.relative_to(origin).as_posix(), size=found.st_size))
    rows.append(FileRow(path=SESSION_FILE, size=(origin / SESSION_FILE).stat().st_size))
    later = sorted((row for row in rows if row.path > command.after), key=lambda row: row.path)
    page = codec.fitting(later)
    return Files(files=page, num_links=num_links, is_last=len(page) == len(later))


def files_of(origin: Path, left_out: frozenset[str] = LEFT_OUT) -> Iterator[tuple[Path, os.stat_result]]:
    """A session's regular files and links but `session.toml`, not what a job is just writing, nor what can be computed again.

    Each with its `lstat`; what a job takes away meanwhile is left out.
    """
    for folder, folders, names in os.walk(origin):
        top = Path(folder)
        folders[:] = [name for name in folders if _wanted(top, name, origin, left_out) and not (top / name).is_symlink()]
        for name in names:
            if _wanted(top, name, origin, left_out):
                with contextlib.suppress(FileNotFoundError):
                    found = (top / name).lstat()
                    if stat.S_IFMT(found.st_mode) in (stat.S_IFREG, stat.S_IFLNK):
                        yield top / name, found


def _wanted(folder: Path, name: str, origin: Path, left_out: frozenset[str]) -> bool:
    return not name.startswith(TEMPORARY_PREFIX) and not (folder == origin and name in (*left_out, SESSION_FILE))


def _copy(origin: Path, draft: Path) -> None:
    for path, _ in files_of(origin):
        copy = draft / path.relative_to(origin)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            _copy_one(path, copy)
        except FileNotFoundError:
            continue  # a job took it away meanwhile


def _copy_one(path: Path, copy: Path) -> None:
    """A file's bytes and times; disks that can share blocks share them."""
    if path.is_symlink():
        copy.symlink_to(path.readlink())
        return
    with path.open("rb") as source, copy.open("xb") as target:
        size = os.fstat(source.fileno()).st_size
        try:
            while size > 0 and (count := os.copy_file_range(source.fileno(), target.fileno(), min(size, PIECE_BYTES))):
                size -= count
        except OSError:
            source.seek(0)
            target.seek(0)
            shutil.copyfileobj(source, target)
    shutil.copystat(path, copy)
