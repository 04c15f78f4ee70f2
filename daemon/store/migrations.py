"""The schema, as functions applied in order, each in one transaction with the record that it was."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable

from daemon.protocol.errors import NegError

Migration = Callable[[sqlite3.Connection], None]


def create_tables(connection: sqlite3.Connection) -> None:
    """Jobs, what they wait for, and one log of events."""
    for statement in (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        """CREATE TABLE job (
            position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL UNIQUE, spec_sha256 TEXT NOT NULL,
            session TEXT NOT NULL, spec BLOB NOT NULL, state TEXT NOT NULL, wanted TEXT NOT NULL, blocked_by TEXT NOT NULL,
            reason TEXT NOT NULL, error BLOB, priority INTEGER NOT NULL, after BLOB NOT NULL, fence INTEGER NOT NULL,
            deaths INTEGER NOT NULL, created REAL NOT NULL, started REAL, finished REAL, timings BLOB NOT NULL) STRICT""",
        "CREATE INDEX job_by_state ON job (state, priority DESC, position)",
        "CREATE INDEX job_by_session ON job (session)",
        """CREATE TABLE dependency (
            job_id TEXT NOT NULL REFERENCES job (id), after_id TEXT NOT NULL REFERENCES job (id),
            PRIMARY KEY (job_id, after_id)) STRICT, WITHOUT ROWID""",
        "CREATE INDEX dependency_by_after ON dependency (after_id)",
        # No AUTOINCREMENT: an ignored duplicate would leave a hole in seq.
        """CREATE TABLE event (
            seq INTEGER PRIMARY KEY, time REAL NOT NULL, job_id TEXT, kind TEXT NOT NULL, key TEXT,
            body BLOB NOT NULL, crc32 INTEGER NOT NULL) STRICT""",
        "CREATE UNIQUE INDEX event_once ON event (job_id, key) WHERE key IS NOT NULL",
        "CREATE INDEX event_by_job ON event (job_id, seq)",
    ):
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('store_id', ?)", (secrets.token_hex(16),))


MIGRATIONS: tuple[Migration, ...] = (create_tables,)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Bring a database (autocommit connection) up to date; raises `NegError` `incompatible` for one of a newer negtui."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied REAL NOT NULL) STRICT"
    )
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()
    if version > len(migrations):
        raise NegError(
            "incompatible", f"The database is of a newer negtui (schema {version}, this one knows {len(migrations)}).", "Update negtui."
        )
    for number, migration in enumerate(migrations[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            migration(connection)
            connection.execute("INSERT INTO migration VALUES (?, ?, ?)", (number, migration.__name__, time.time()))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
