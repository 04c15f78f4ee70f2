import sqlite3

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from daemon.jobs import moves, runs
from daemon.protocol.codec import decode_event
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobAccepted, JobRow, JobStateChanged
from daemon.store import jobs
from daemon.store.events import select
from tests import fake_recipes
from tests.job_specs import TRAINING, submission, table


@pytest.fixture
def connection() -> sqlite3.Connection:
    return table()


def state(connection: sqlite3.Connection, row: JobRow) -> str:
    return moves.find(connection, row.id).row.state


def test_a_submission_is_one_job_however_often_it_is_made(connection: sqlite3.Connection) -> None:
    first, replayed = moves.submit(connection, submission("key"))
    assert not replayed
    assert moves.submit(connection, submission("key")) == (first, True)
    assert len(jobs.newest(connection, None, 10)) == 1
    assert [type(decode_event(event.body)) for event in select(connection, 0, 10, None)] == [JobAccepted]
    with pytest.raises(NegError) as refusal:
        moves.submit(connection, submission("key", spec=fake_recipes.job("other")))
    assert refusal.value.detail.code == "conflict"


def test_a_replayed_submission_shows_how_far_the_job_is(connection: sqlite3.Connection) -> None:
    moves.submit(connection, submission("key"))
    runs.start_next(connection)
    row, replayed = moves.submit(connection, submission("key"))
    assert replayed
    assert row.state == "running"


def test_unknown_jobs_are_not_found(connection: sqlite3.Connection) -> None:
    for act in (moves.cancel, moves.pause, moves.resume):
        with pytest.raises(NegError, match="no job nowhere"):
            act(connection, "nowhere")
    with pytest.raises(NegError, match="no job nowhere"):
        moves.submit(connection, submission("key", after=("nowhere",)))


def test_only_a_training_that_runs_takes_orders(connection: sqlite3.Connection) -> None:
    with pytest.raises(NegError, match="no job nowhere"):
        moves.find_running_training(connection, "nowhere")
    other, _ = moves.submit(connection, submission("1"))
    assert runs.start_next(connection) is not None
    assert refused_order(connection, other) == f"synthesize job {other.id} is no training. Only a training takes orders while it runs."
    runs.end(connection, other.id, 1, "done")
    job, _ = moves.submit(connection, submission("2", spec=TRAINING))
    assert refused_order(connection, job) == f"train job {job.id} does not run, it is queued. Give the order once it runs."
    started = runs.start_next(connection)
    assert moves.find_running_training(connection, job.id) == started
    moves.pause(connection, job.id)
    assert "it is pausing. It stops at its next step." in refused_order(connection, job)
    runs.end(connection, job.id, 1, "paused")
    assert "it is paused. `negtui resume`" in refused_order(connection, job)
    moves.resume(connection, job.id)
    assert runs.start_next(connection) is not None
    runs.end(connection, job.id, 2, "done")
    assert "it is done. Its adapter is finished." in refused_order(connection, job)


def refused_order(connection: sqlite3.Connection, job: JobRow) -> str:
    with pytest.raises(NegError) as refusal:
        moves.find_running_training(connection, job.id)
    assert refusal.value.detail.code == "conflict"
    return str(refusal.value)


def test_a_chain_waits_fails_and_goes_on(connection: sqlite3.Connection) -> None:
    first, _ = moves.submit(connection, submission("1"))
    second, _ = moves.submit(connection, submission("2", after=(first.id,)))
    third, _ = moves.submit(connection, submission("3", after=(second.id,)))
    assert second.reason == f"waits for synthesize job {first.id}"
    started = runs.start_next(connection)
    assert started is not None
    runs.end(connection, first.id, started.fence, "failed", error=NegError("internal", "m").detail)
    blocked = moves.find(connection, third.id).row
    assert (state(connection, second), blocked.state) == ("blocked", "blocked")
    assert blocked.reason == f"waits for synthesize job {second.id}, which is blocked; resume that one first"
    assert moves.resume(connection, third.id).state == "blocked", "what it waits for still cannot come"
    late, _ = moves.submit(connection, submission("4", after=(first.id,)))
    assert late.state == "blocked"
    moves.resume(connection, first.id)
    assert [state(connection, row) for row in (first, second, third, late)] == ["queued"] * 4
    started = runs.start_next(connection)
    assert started is not None
    assert started.id == first.id
    runs.end(connection, first.id, started.fence, "done")
    assert moves.find(connection, second.id).row.reason == ""


def test_stops_of_a_running_job_are_wishes_until_it_stops(connection: sqlite3.Connection) -> None:
    row, _ = moves.submit(connection, submission())
    started = runs.start_next(connection)
    assert started is not None
    assert moves.pause(connection, row.id).state == "pausing"
    assert moves.resume(connection, row.id).state == "running"
    assert moves.pause(connection, row.id).reason == "stops at its next step, then is paused"
    assert moves.cancel(connection, row.id).reason == "stops at its next step, then is cancelled"
    ended = runs.end(connection, row.id, started.fence, "paused")
    assert ended is not None
    assert ended.state == "cancelled"
    assert ended.finished is not None
    resumed = moves.resume(connection, row.id)
    assert (resumed.state, resumed.finished, resumed.reason) == ("queued", None, "")


def test_what_is_over_cannot_be_stopped(connection: sqlite3.Connection) -> None:
    row, _ = moves.submit(connection, submission())
    started = runs.start_next(connection)
    assert started is not None
    runs.end(connection, row.id, started.fence, "done")
    for act in (moves.cancel, moves.pause, moves.resume):
        with pytest.raises(NegError) as refusal:
            act(connection, row.id)
        assert refusal.value.detail.code == "wrong_state"


def test_repeating_changes_and_tells_nothing(connection: sqlite3.Connection) -> None:
    row, _ = moves.submit(connection, submission())
    for act in (moves.pause, moves.resume, moves.cancel):
        act(connection, row.id)
        told = len(select(connection, 0, 100, None))
        act(connection, row.id)
        assert len(select(connection, 0, 100, None)) == told
    moves.prioritise(connection, row.id, 5)
    moves.prioritise(connection, row.id, 5)
    assert len(select(connection, 0, 100, None)) == 5
    assert moves.find(connection, row.id).row.priority == 5


def test_ids_sort_by_age_and_differ() -> None:
    ids = [moves.new_job_id() for _ in range(500)]
    assert len(set(ids)) == 500
    assert [job_id[:9] for job_id in ids] == sorted(job_id[:9] for job_id in ids)
    assert {len(job_id) for job_id in ids} == {16}


class Model:
    """What the table should hold, in a few lines: state and wish of each job, oldest first."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.wanted: dict[str, str] = {}
        self.after: dict[str, tuple[str, ...]] = {}
        self.waits_in_vain: set[str] = set()
        self.deaths: dict[str, int] = {}

    def move(self, job_id: str, state: str) -> None:
        self.states[job_id] = state
        self.settle()

    def settle(self) -> None:
        for job_id, state in self.states.items():
            if state == "queued" or job_id in self.waits_in_vain:
                self.enqueue(job_id)

    def enqueue(self, job_id: str) -> None:
        vain = any(self.states[d] in ("failed", "cancelled") or d in self.waits_in_vain for d in self.after[job_id])
        (self.waits_in_vain.add if vain else self.waits_in_vain.discard)(job_id)
        self.states[job_id] = "blocked" if vain else "queued"

    def stop(self, job_id: str) -> None:
        self.move(job_id, {"run": "queued", "pause": "paused", "cancel": "cancelled"}[self.wanted[job_id]])


class Table(RuleBasedStateMachine):
    """Random acts of people and scheduler, against the model."""

    ids = Bundle("ids")
    running = Bundle("running")

    @initialize()
    def begin(self) -> None:
        self.connection, self.model, self.number = table(), Model(), 0

    @rule(target=ids, session=st.sampled_from("xy"), after=st.lists(ids, max_size=2), priority=st.integers(-1, 1))
    def submit(self, session: str, after: list[str], priority: int) -> str:
        self.number += 1
        command = submission(str(self.number), session=session, after=tuple(after), priority=priority)
        row, _ = moves.submit(self.connection, command)
        self.model.after[row.id], self.model.wanted[row.id], self.model.deaths[row.id] = row.after, "run", 0
        self.model.states[row.id] = "queued"
        self.model.settle()
        return row.id

    @rule(job_id=ids, how=st.sampled_from(["pause", "cancel"]))
    def ask_to_stop(self, job_id: str, how: str) -> None:
        act = moves.pause if how == "pause" else moves.cancel
        before = self.model.states[job_id]
        if before in ("done", "failed") or (before == "cancelled" and how == "pause"):
            with pytest.raises(NegError):
                act(self.connection, job_id)
            return
        act(self.connection, job_id)
        self.model.wanted[job_id] = how
        if before in ("running", "pausing"):
            self.model.states[job_id] = "pausing"
        else:
            self.model.waits_in_vain.discard(job_id)
            self.model.stop(job_id)

    @rule(job_id=ids)
    def resume(self, job_id: str) -> None:
        before = self.model.states[job_id]
        if before == "done":
            with pytest.raises(NegError):
                moves.resume(self.connection, job_id)
            return
        moves.resume(self.connection, job_id)
        self.model.wanted[job_id] = "run"
        if before in ("running", "pausing"):
            self.model.states[job_id] = "running"
        else:
            self.model.deaths[job_id] = 0
            self.model.enqueue(job_id)
            self.model.settle()

    @rule(target=running)
    def start(self) -> tuple[str, int]:
        row = runs.start_next(self.connection)
        if row is None:
            return ("", 0)
        assert all(self.model.states[d] == "done" for d in self.model.after[row.id])
        self.model.states[row.id], self.model.wanted[row.id] = "running", "run"
        return (row.id, row.fence)

    @rule(unit=consumes(running), outcome=st.sampled_from(["done", "failed", "paused", "cancelled"]), no_room=st.sampled_from(["", "full"]))
    def end(self, unit: tuple[str, int], outcome: str, no_room: str) -> None:
        job_id, fence = unit
        row = runs.end(self.connection, job_id, fence, outcome, no_room=no_room)  # type: ignore[arg-type]
        if row is None:
            return
        if no_room and self.model.wanted[job_id] == "run":
            self.model.move(job_id, "blocked")
        elif outcome in ("done", "failed") and not no_room:
            self.model.deaths[job_id] = 0
            self.model.move(job_id, outcome)
        else:
            self.model.stop(job_id)

    @rule(unit=consumes(running), counts=st.booleans())
    def lose(self, unit: tuple[str, int], counts: bool) -> None:
        job_id, fence = unit
        if runs.lose(self.connection, job_id, fence, "died", 2 if counts else None) is None:
            return
        self.model.deaths[job_id] += counts
        if counts and self.model.deaths[job_id] >= 2 and self.model.wanted[job_id] == "run":
            self.model.move(job_id, "failed")
        else:
            self.model.stop(job_id)

    @rule()
    def restart_daemon(self) -> None:
        runs.recover(self.connection)
        for job_id in [job_id for job_id, state in self.model.states.items() if state in ("running", "pausing")]:
            self.model.stop(job_id)

    @rule(job_id=ids)
    def find_room(self, job_id: str) -> None:
        if self.model.states[job_id] == "blocked" and job_id not in self.model.waits_in_vain:
            assert runs.unblock(self.connection, job_id) is not None
            self.model.enqueue(job_id)
            self.model.settle()
        else:
            assert runs.unblock(self.connection, job_id) is None

    @invariant()
    def table_is_as_the_model(self) -> None:
        stored = jobs.newest(self.connection, None, 1000)
        assert {job.row.id: job.row.state for job in stored} == self.model.states
        at_work = [job.row.spec.session for job in stored if job.row.state in ("running", "pausing")]
        assert len(at_work) == len(set(at_work))
        assert all(job.row.reason for job in stored if job.row.state == "blocked")

    @invariant()
    def events_tell_the_table(self) -> None:
        told = {}
        stored = select(self.connection, 0, 10_000, None)
        for event in stored:
            body = decode_event(event.body)
            assert isinstance(body, (JobAccepted, JobStateChanged))
            told[body.job.id] = body.job
        assert [event.seq for event in stored] == list(range(1, len(stored) + 1))
        assert told == {job.row.id: job.row for job in jobs.newest(self.connection, None, 1000)}

    def teardown(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()


Table.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTable = Table.TestCase
