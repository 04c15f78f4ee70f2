import msgspec

from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import JobRow
from daemon.store import jobs
from daemon.store.jobs import StoredJob
from tests import fake_recipes
from tests.job_specs import table


def stored(id: str, session: str = "fake", **fields: object) -> StoredJob:
    given = {"state": "queued", "created": 1.5, **fields}
    row = JobRow(id=id, key=f"key-{id}", spec=fake_recipes.job(session), **given)  # type: ignore[arg-type]
    return StoredJob(row=row, spec_sha256="0" * 64)


def test_a_job_comes_back_as_it_went() -> None:
    connection = table()
    jobs.add(connection, stored("a"))
    full = stored("b", state="failed", error=ErrorDetail(code="internal", message="m"), after=("a",), started=2.0, timings={"load": 0.5})
    jobs.add(connection, full)
    assert jobs.by_id(connection, "b") == full
    assert jobs.by_key(connection, "key-b") == full
    assert jobs.by_id(connection, "c") is None
    row = msgspec.structs.replace(full.row, state="queued", error=None, reason="r", priority=3, fence=2, finished=9.0, timings={})
    changed = StoredJob(row=row, spec_sha256=full.spec_sha256, wanted="pause", blocked_by="disk", deaths=2)
    jobs.save(connection, changed)
    assert jobs.by_id(connection, "b") == changed


def test_lists_are_by_age() -> None:
    connection = table()
    for name, session in (("a", "x"), ("b", "y"), ("c", "x"), ("d", "x")):
        jobs.add(connection, stored(name, session, state="done" if name == "b" else "queued"))
    assert [job.row.id for job in jobs.newest(connection, None, 10)] == ["a", "b", "c", "d"]
    assert [job.row.id for job in jobs.newest(connection, "x", 2)] == ["c", "d"]
    assert [job.row.id for job in jobs.in_states(connection, "done", "failed")] == ["b"]


def test_the_next_is_the_highest_then_oldest_whose_time_has_come() -> None:
    connection = table()
    jobs.add(connection, stored("running", "busy", state="running"))
    jobs.add(connection, stored("same-session", "busy", priority=9))
    jobs.add(connection, stored("waits", after=("running",), priority=9))
    jobs.add(connection, stored("old"))
    jobs.add(connection, stored("high", priority=1))
    jobs.add(connection, stored("paused", state="paused", priority=9))
    order = []
    while (job := jobs.next_ready(connection)) is not None:
        order.append(job.row.id)
        jobs.save(connection, msgspec.structs.replace(job, row=msgspec.structs.replace(job.row, state="done")))
    assert order == ["high", "old"]
    assert [job.row.id for job in jobs.dependents(connection, "running")] == ["waits"]
