import sqlite3

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.jobs import moves, runs
from daemon.protocol.codec import decode_event
from daemon.protocol.events import CheckpointSaved, DurableEvent, JobAccepted, Logged, SessionChanged, WorkerChanged
from daemon.store import jobs
from daemon.store.events import Fence, insert, job_id_of, select
from tests.job_specs import submission, table


@pytest.fixture
def connection() -> sqlite3.Connection:
    return table()


def checkpoint(job_id: str, step: int) -> CheckpointSaved:
    return CheckpointSaved(job_id=job_id, step=step, path=f"checkpoints/{step}")


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 5)), max_size=40))
def test_each_fact_once_and_no_hole_in_seq(told: list[tuple[str, int]]) -> None:
    connection = table()
    seqs = [insert(connection, checkpoint(*fact)) for fact in told]
    assert [seq for seq in seqs if seq is not None] == list(range(1, len(set(told)) + 1))
    stored = select(connection, 0, 100, None)
    assert [decode_event(event.body) for event in stored] == [checkpoint(*fact) for fact in dict.fromkeys(told)]


def test_events_without_key_count_every_time(connection: sqlite3.Connection) -> None:
    event = Logged(job_id="a", level="info", message="same")
    assert [insert(connection, event), insert(connection, event)] == [1, 2]


def test_an_outlived_start_is_refused(connection: sqlite3.Connection) -> None:
    row, _ = moves.submit(connection, submission())
    assert insert(connection, checkpoint(row.id, 1), fence=Fence(row.id, 0)) is None, "it does not run"
    started = runs.start_next(connection)
    assert started is not None
    assert insert(connection, checkpoint(row.id, 1), fence=Fence(row.id, started.fence - 1)) is None
    assert insert(connection, checkpoint(row.id, 1), fence=Fence(row.id, started.fence)) is not None
    assert insert(connection, SessionChanged(session="fake", change="images"), fence=Fence(row.id, started.fence)) is not None
    runs.end(connection, row.id, started.fence, "done")
    assert insert(connection, checkpoint(row.id, 2), fence=Fence(row.id, started.fence)) is None


def test_only_a_new_fact_forgives_deaths(connection: sqlite3.Connection) -> None:
    row, _ = moves.submit(connection, submission())

    def start() -> Fence:
        started = runs.start_next(connection)
        assert started is not None
        return Fence(row.id, started.fence)

    def deaths() -> int:
        job = jobs.by_id(connection, row.id)
        assert job is not None
        return job.deaths

    fence = start()
    insert(connection, checkpoint(row.id, 1), fence=fence)
    runs.lose(connection, *fence, "died", 3)
    fence = start()
    insert(connection, checkpoint(row.id, 1), fence=fence)
    insert(connection, Logged(job_id=row.id, level="info", message="hello again"), fence=fence)
    assert deaths() == 1
    insert(connection, checkpoint(row.id, 2), fence=fence)
    assert deaths() == 0


def test_reading_goes_on_after_a_seq_and_by_job(connection: sqlite3.Connection) -> None:
    for step in range(1, 6):
        insert(connection, checkpoint("ab"[step % 2], step))
    assert [event.seq for event in select(connection, 2, 2, None)] == [3, 4]
    assert [event.seq for event in select(connection, 1, 10, "b")] == [3, 5]


def test_a_damaged_event_is_told_under_its_seq(connection: sqlite3.Connection) -> None:
    for step in (1, 2, 3):
        insert(connection, checkpoint("a", step))
    connection.execute("UPDATE event SET body = x'00' WHERE seq = 2")
    events: list[DurableEvent] = [decode_event(event.body) for event in select(connection, 0, 10, None)]  # type: ignore[misc]
    assert events[0] == checkpoint("a", 1)
    assert events[2] == checkpoint("a", 3)
    assert events[1] == Logged(job_id="a", level="error", message="Event 2 is damaged in the database and left out.")


def test_whose_event_it_is(connection: sqlite3.Connection) -> None:
    row, _ = moves.submit(connection, submission())
    assert job_id_of(JobAccepted(job=row)) == row.id
    assert job_id_of(checkpoint("a", 1)) == "a"
    assert job_id_of(WorkerChanged(worker="w", state="ready")) is None
    assert msgspec.structs.fields(type(row))[0].name == "id"
