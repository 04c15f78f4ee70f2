import sqlite3

import pytest

from daemon.jobs import moves, runs
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobRow
from tests.job_specs import submission, table


@pytest.fixture
def connection() -> sqlite3.Connection:
    return table()


def started(connection: sqlite3.Connection, key: str = "key") -> JobRow:
    moves.submit(connection, submission(key))
    return again(connection)


def again(connection: sqlite3.Connection) -> JobRow:
    row = runs.start_next(connection)
    assert row is not None
    return row


def test_every_start_has_a_higher_fence(connection: sqlite3.Connection) -> None:
    first = started(connection)
    runs.lose(connection, first.id, first.fence, "died", None)
    second = again(connection)
    assert (first.fence, second.fence) == (1, 2)
    assert runs.end(connection, first.id, first.fence, "done") is None, "an outlived run ends nothing"
    assert runs.lose(connection, first.id, first.fence, "died", 1) is None
    assert moves.find(connection, first.id).row == second


def test_seconds_of_all_runs_are_added(connection: sqlite3.Connection) -> None:
    row = started(connection)
    runs.end(connection, row.id, row.fence, "paused", timings={"load": 1.0, "train": 2.0})
    row = again(connection)
    done = runs.end(connection, row.id, row.fence, "done", timings={"train": 3.0})
    assert done is not None
    assert done.timings == {"load": 1.0, "train": 5.0}
    assert done.finished is not None


def test_a_full_disk_blocks_whatever_the_worker_says(connection: sqlite3.Connection) -> None:
    row = started(connection)
    blocked = runs.end(connection, row.id, row.fence, "failed", error=NegError("disk_full", "No room.").detail)
    assert blocked is not None
    assert (blocked.state, blocked.error) == ("blocked", None)
    assert blocked.reason == "No room. It goes on by itself when there is room."
    unblocked = runs.unblock(connection, row.id)
    assert unblocked is not None
    assert unblocked.state == "queued"
    row = again(connection)
    blocked = runs.end(connection, row.id, row.fence, "done", no_room="Events were not stored.")
    assert blocked is not None
    assert blocked.state == "blocked"
    assert runs.unblock(connection, row.id) is not None
    assert runs.unblock(connection, row.id) is None


def test_three_deaths_without_progress_are_enough(connection: sqlite3.Connection) -> None:
    row = started(connection)
    for number in (1, 2):
        lost = runs.lose(connection, row.id, row.fence, "was ended by SIGKILL", 3)
        assert lost is not None
        assert lost.reason == f"starts again: its worker was ended by SIGKILL; {number} of at most 3 times"
        row = again(connection)
    failed = runs.lose(connection, row.id, row.fence, "was ended by SIGSEGV", 3)
    assert failed is not None
    assert failed.error is not None
    assert (failed.state, failed.error.code) == ("failed", "worker_lost")
    assert "3 times without progress" in failed.error.message
    assert "SIGSEGV" in failed.error.message
    moves.resume(connection, row.id)
    row = again(connection)
    lost = runs.lose(connection, row.id, row.fence, "died", 3)
    assert lost is not None
    assert lost.state == "queued", "resumed by hand, it has three lives again"


def test_recovery_is_where_people_want_the_jobs(connection: sqlite3.Connection) -> None:
    rows = []
    for key, session in (("run", "a"), ("pause", "b"), ("cancel", "c"), ("idle", "a")):
        moves.submit(connection, submission(key, session=session))
        row = runs.start_next(connection)
        rows += [row] if row else []
    moves.pause(connection, rows[1].id)
    moves.cancel(connection, rows[2].id)
    recovered = runs.recover(connection)
    assert [row.state for row in recovered] == ["queued", "paused", "cancelled"]
    assert [row.fence for row in recovered] == [2, 2, 2]
    assert recovered[0].reason == "goes on: the daemon was restarted"
    assert runs.recover(connection) == []


def test_a_last_death_after_a_cancel_is_a_cancel(connection: sqlite3.Connection) -> None:
    row = started(connection)
    moves.cancel(connection, row.id)
    lost = runs.lose(connection, row.id, row.fence, "died", 1)
    assert lost is not None
    assert (lost.state, lost.error) == ("cancelled", None)
