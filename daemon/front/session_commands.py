"""What the daemon does for commands about sessions: each in a thread, edits one after another, none while a job could be hurt by it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from daemon import sessions
from daemon.front.peers import Peer
from daemon.front.router import Table
from daemon.jobs.queue import JobQueue
from daemon.jobs.states import AT_WORK
from daemon.protocol.commands import (
    ChangeSession,
    CreateSession,
    DeleteSession,
    DuplicateSession,
    Files,
    ImportSession,
    ListFiles,
    ListSessions,
    ReadSession,
    SessionAnswer,
    SessionDeleted,
    Sessions,
    WriteSession,
)
from daemon.protocol.errors import NegError
from daemon.sessions import removing
from daemon.store import jobs

OPEN_STATES = (*AT_WORK, "queued", "paused", "blocked")


class SessionCommands:
    """Handlers over the folders below `queue.sessions_path`. `marking` is held by who changes a session's pictures."""

    def __init__(self, queue: JobQueue, marking: asyncio.Lock) -> None:
        self._queue = queue
        self._sessions_path = queue.sessions_path
        self._editing = asyncio.Lock()
        self._copying = asyncio.Lock()
        self._marking = marking

    def table(self) -> Table:
        return {
            ListSessions: self.list_sessions,
            CreateSession: self.create,
            ReadSession: self.read,
            ChangeSession: self.change,
            WriteSession: self.write,
            DuplicateSession: self.duplicate,
            DeleteSession: self.delete,
            ListFiles: self.list_files,
            ImportSession: self.take,
        }

    async def list_sessions(self, command: ListSessions, peer: Peer) -> Sessions:
        return Sessions(sessions=tuple(await asyncio.to_thread(sessions.rows, self._sessions_path)))

    async def create(self, command: CreateSession, peer: Peer) -> SessionAnswer:
        return await asyncio.to_thread(
            sessions.create, self._sessions_path, command.name, command.template, command.changes, command.skip_checks
        )

    async def read(self, command: ReadSession, peer: Peer) -> SessionAnswer:
        return await asyncio.to_thread(sessions.check, self._sessions_path, command.name)

    async def change(self, command: ChangeSession, peer: Peer) -> SessionAnswer:
        async with self._editing:
            return await asyncio.to_thread(sessions.change, self._sessions_path, command.name, command.changes, command.skip_checks)

    async def write(self, command: WriteSession, peer: Peer) -> SessionAnswer:
        async with self._editing:
            return await asyncio.to_thread(sessions.write, self._sessions_path, command.name, command.text, command.sha256)

    async def duplicate(self, command: DuplicateSession, peer: Peer) -> SessionAnswer:
        async with self._copying:
            return await asyncio.to_thread(sessions.duplicate, self._sessions_path, command.name, command.new_name, command.settings_only)

    async def list_files(self, command: ListFiles, peer: Peer) -> Files:
        return await asyncio.to_thread(sessions.list_files, self._sessions_path, command)

    async def take(self, command: ImportSession, peer: Peer) -> SessionAnswer:
        path = Path(command.path)
        if not path.is_absolute():
            raise NegError("invalid", f"{command.path} is not absolute.", "Name the file from / on: the daemon has a folder of its own.")
        async with self._copying:
            return await asyncio.to_thread(sessions.take, self._sessions_path, path, command.new_name)

    async def delete(self, command: DeleteSession, peer: Peer) -> SessionDeleted:
        await asyncio.to_thread(removing.require_removable, self._sessions_path, command.name, command.typed)
        async with self._editing, self._copying, self._marking:
            # In the store's own thread no job is added or started between the look and the step.
            hidden = await self._queue.store.read(lambda connection: hide_if_idle(connection, self._sessions_path, command.name))
        try:
            num_bytes = await asyncio.to_thread(removing.remove, hidden)
        except OSError as error:
            message = f"{command.name} is gone, but not all its files could be removed: {error.strerror}."
            raise NegError("internal", message, f"What is left lies in {hidden}.") from None
        return SessionDeleted(name=command.name, num_bytes=num_bytes)


def hide_if_idle(connection: sqlite3.Connection, sessions_path: Path, name: str) -> Path:
    """Take a session out of sight unless a job of it runs or may yet run. Raises `NegError` `conflict`, `not_found`."""
    found = [job.row for job in jobs.in_states(connection, *OPEN_STATES) if job.row.spec.session == name]
    if found:
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        message = f"Job {found[0].id}{others} of {name!r} is not over yet, it is {found[0].state}."
        raise NegError("conflict", message, f"Cancel it first: negtui cancel {found[0].id}")
    return removing.hide(sessions_path, name)
