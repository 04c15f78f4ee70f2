"""One SQLite connection in one thread: writes are grouped, committed durably, and only then answered.

The store knows nothing of what is in the tables beyond the head of the event log.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import logging
import os
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from daemon.config import environment_number
from daemon.protocol.errors import NegError
from daemon.store.disk import Ballast, require_local_disk
from daemon.store.migrations import migrate

T = TypeVar("T")
MAX_GROUP = 64
MAX_GROUP_SECONDS = 0.005
CHECKPOINT_ROWS = 2000
LOCK_SECONDS = 2.0
EXIT_IO_ERROR = 74  # EX_IOERR
FATAL = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
logger = logging.getLogger(__name__)


def exit_on_io_error(error: Exception) -> None:
    """The default answer to a failed write or fsync: end at once. A retried fsync may succeed falsely; the disk is read anew at start."""
    logger.critical("The database cannot be written: %s. Stopping, so that nothing is promised that is not kept.", error)
    sys.stderr.flush()
    os._exit(EXIT_IO_ERROR)


def ballast_bytes_configured() -> int:
    """Size of the reserve: `NEGTUI_BALLAST_MIB` MiB, 64 unless set."""
    return int(environment_number("NEGTUI_BALLAST_MIB", 64) * 2**20)


@dataclass(eq=False)
class _Operation:
    run: Callable[[sqlite3.Connection], Any]
    writes: bool
    spends_reserve: bool
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


@dataclass
class _Opened:
    store_id: str
    head_seq: int
    min_seq: int


@dataclass
class Store:
    """The daemon's memory. Make one with `await Store.open(path)`; use it from that event loop only."""

    store_id: str
    head_seq: int
    """`seq` of the newest committed event; 0: none."""
    min_seq: int
    """Events after this one can be read."""
    path: Path
    _writer: _Writer
    _listeners: list[Callable[[int], None]] = field(default_factory=list)

    @classmethod
    async def open(
        cls, path: Path, *, ballast_bytes: int | None = None, on_io_error: Callable[[Exception], None] = exit_on_io_error
    ) -> Store:
        """Open or create the database.

        Raises `NegError`: `invalid` (network disk), `busy` (another daemon), `corrupt`, `incompatible`, `disk_full`.
        """
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        require_local_disk(path.parent)
        size = ballast_bytes_configured() if ballast_bytes is None else ballast_bytes
        writer = _Writer(path, Ballast(path.with_suffix(".ballast"), size), on_io_error, asyncio.get_running_loop())
        writer.start()
        opened = await asyncio.wrap_future(writer.opened)
        store = cls(opened.store_id, opened.head_seq, opened.min_seq, path, writer)
        writer.deliver = store._deliver
        return store

    async def write(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """Run `run(connection)` in a transaction; returns once that is durable.

        `run` may be run twice (after a disk-full), so it must touch nothing but the connection. What it raises undoes it alone and is
        raised here. Raises `NegError` `disk_full` where not even the reserve made room.
        """
        return await self.enqueue(run)

    def enqueue(self, run: Callable[[sqlite3.Connection], T], *, spends_reserve: bool = True) -> asyncio.Future[T]:
        """As `write`, at once in line, for those who keep several under way: operations are committed in the order of the calls.

        One that does not spend the reserve fails on a full disk at once, and leaves it to those that must be stored.
        """
        return self._put(run, writes=True, spends_reserve=spends_reserve)

    async def read(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """Run `run(connection)` on what is committed; it must not write."""
        return await self._put(run, writes=False)

    def add_listener(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call `listener(head_seq)` in the loop after each commit that added events. Returns what removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def close(self) -> None:
        """Finish what is in line and close the file."""
        self._writer.inbox.put(None)
        await asyncio.wrap_future(self._writer.closed)

    def _put(self, run: Callable[[sqlite3.Connection], T], *, writes: bool, spends_reserve: bool = False) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.inbox.put(_Operation(run, writes, spends_reserve, future))
        if self._writer.closed.done() and not future.done():
            future.set_exception(_closed())
        return future

    def _deliver(self, group: list[_Operation], head_seq: int) -> None:
        advanced, self.head_seq = head_seq > self.head_seq, max(head_seq, self.head_seq)
        for operation in group:
            if operation.future.done():
                continue
            if operation.error is not None:
                operation.future.set_exception(operation.error)
            else:
                operation.future.set_result(operation.result)
        if advanced:
            for listener in tuple(self._listeners):
                listener(head_seq)


class _Writer(threading.Thread):
    """Owns the connection. Takes operations from `inbox`, commits them in groups, hands them back to the loop."""

    def __init__(self, path: Path, ballast: Ballast, on_io_error: Callable[[Exception], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="store", daemon=True)
        self.inbox: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self.opened: concurrent.futures.Future[_Opened] = concurrent.futures.Future()
        self.closed: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.deliver: Callable[[list[_Operation], int], None] = lambda group, head_seq: None
        self._path, self._ballast, self._on_io_error, self._loop = path, ballast, on_io_error, loop
        self._stopping = False
        self._rows_checkpointed = 0

    def run(self) -> None:
        try:
            connection, opened = _open(self._path)
        except Exception as error:
            self.closed.set_result(None)
            self.opened.set_exception(_in_words(error, self._path))
            return
        try:
            self._restore_ballast()
            self.opened.set_result(opened)
            while group := self._collect():
                self._work(connection, group)
        finally:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
            self.closed.set_result(None)
            self._refuse_rest()

    def _collect(self) -> list[_Operation]:
        """What is in line, at most `MAX_GROUP` and for at most 5 ms; nothing once closed."""
        if self._stopping or (first := self.inbox.get()) is None:
            return []
        group, until = [first], time.monotonic() + MAX_GROUP_SECONDS
        while len(group) < MAX_GROUP and time.monotonic() < until:
            try:
                operation = self.inbox.get_nowait()
            except queue.Empty:
                break
            if operation is None:
                self._stopping = True
                break
            group.append(operation)
        return group

    def _work(self, connection: sqlite3.Connection, group: list[_Operation]) -> None:
        head_seq = 0
        try:
            self._commit(connection, [operation for operation in group if operation.writes])
            for operation in group:
                if not operation.writes:
                    _attempt(connection, operation)
            head_seq = _head_seq(connection)
        except (sqlite3.Error, OSError) as error:  # the reserve may be the one that cannot be touched
            self._stopping = True
            for operation in group:
                operation.error = NegError(
                    "internal", f"The database cannot be used: {error}.", "Look at the disk, then restart the daemon."
                )
            self._on_io_error(error)
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits for an answer
            self._loop.call_soon_threadsafe(self.deliver, group, head_seq)
        if not self._stopping:
            self._restore_ballast()

    def _commit(self, connection: sqlite3.Connection, operations: list[_Operation]) -> None:
        if not operations:
            return
        try:
            _transact(connection, operations)
        except sqlite3.Error as error:
            if not _is_full(error):
                raise
            self._commit_full(connection, operations, error)
        self._checkpoint(connection)

    def _commit_full(self, connection: sqlite3.Connection, operations: list[_Operation], full: sqlite3.Error) -> None:
        """Commit from the reserve what may spend it; the rest is refused."""
        spending = [operation for operation in operations if operation.spends_reserve]
        _refuse([operation for operation in operations if not operation.spends_reserve], full, self._path)
        if not spending:
            return
        self._ballast.release()
        try:
            _transact(connection, spending)
        except sqlite3.Error as error:
            if not _is_full(error):
                raise
            _refuse(spending, error, self._path)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        # By hand: SQLite's automatic checkpoint hides its errors.
        if connection.total_changes - self._rows_checkpointed < CHECKPOINT_ROWS:
            return
        self._rows_checkpointed = connection.total_changes
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            if not _is_full(error):
                raise

    def _restore_ballast(self) -> None:
        try:
            self._ballast.restore()
        except OSError as error:
            logger.warning("No reserve could be made at %s: %s", self._ballast.path, error)

    def _refuse_rest(self) -> None:
        rest = []
        with contextlib.suppress(queue.Empty):
            while True:
                operation = self.inbox.get_nowait()
                if operation is not None:
                    operation.error = _closed()
                    rest.append(operation)
        if rest:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.deliver, rest, 0)


def _closed() -> NegError:
    return NegError("internal", "The store is closed.", "Restart the daemon: `negtui daemon start`.")


def _open(path: Path) -> tuple[sqlite3.Connection, _Opened]:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, timeout=LOCK_SECONDS)
    try:
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").fetchone()
        migrate(connection)
        return connection, _read_opened(connection)
    except BaseException:
        connection.close()
        raise


def _read_opened(connection: sqlite3.Connection) -> _Opened:
    (store_id,) = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
    (oldest,) = connection.execute("SELECT coalesce(min(seq), 1) FROM event").fetchone()
    return _Opened(store_id, _head_seq(connection), oldest - 1)


def _head_seq(connection: sqlite3.Connection) -> int:
    head: int = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]
    return head


def _transact(connection: sqlite3.Connection, operations: list[_Operation]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for operation in operations:
            connection.execute("SAVEPOINT operation")
            _attempt(connection, operation)
            if operation.error is not None:
                connection.execute("ROLLBACK TO operation")
            connection.execute("RELEASE operation")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse(operations: list[_Operation], error: sqlite3.Error, path: Path) -> None:
    for operation in operations:
        operation.error = _in_words(error, path)


def _attempt(connection: sqlite3.Connection, operation: _Operation) -> None:
    operation.result, operation.error = None, None
    try:
        operation.result = operation.run(connection)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and (_is_full(error) or _primary_code(error) in FATAL):
            raise
        operation.error = error


def _primary_code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_full(error: sqlite3.Error) -> bool:
    return _primary_code(error) == sqlite3.SQLITE_FULL


def _in_words(error: Exception, path: Path) -> Exception:
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return NegError(
            "disk_full" if full else "invalid", f"{path} cannot be opened: {error.strerror}.", "Look at its disk and its owner."
        )
    if not isinstance(error, sqlite3.Error):
        return error
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return NegError("disk_full", f"No room left on the disk of {path}.", "Free some room, then try again.", retryable=True)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return NegError("busy", f"Another process uses {path}.", "Stop the other daemon: `negtui daemon stop`.")
    return NegError("corrupt", f"{path} cannot be read: {error}.", "Move it away; a new one is made, and sessions keep their files.")
