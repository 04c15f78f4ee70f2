import sqlite3

import pytest

from daemon.protocol.errors import NegError
from daemon.store.migrations import MIGRATIONS, migrate


def columns(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.fixture
def connection() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def test_migrating_twice_changes_nothing(connection: sqlite3.Connection) -> None:
    migrate(connection)
    before = list(connection.iterdump())
    migrate(connection)
    assert list(connection.iterdump()) == before
    assert {"job", "event", "dependency", "meta"} <= columns(connection)


def test_a_failed_migration_leaves_nothing_of_itself(connection: sqlite3.Connection) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        migrate(connection, (*MIGRATIONS, fails))
    assert "half" not in columns(connection)
    assert connection.execute("SELECT max(version) FROM migration").fetchone() == (len(MIGRATIONS),)


def test_later_migrations_are_applied_alone(connection: sqlite3.Connection) -> None:
    migrate(connection)
    migrate(connection, (*MIGRATIONS, lambda c: c.execute("CREATE TABLE later (x)") and None))
    assert "later" in columns(connection)


def test_a_newer_database_is_refused(connection: sqlite3.Connection) -> None:
    migrate(connection)
    connection.execute("INSERT INTO migration VALUES (99, 'future', 0)")
    with pytest.raises(NegError) as refusal:
        migrate(connection)
    assert refusal.value.detail.code == "incompatible"
