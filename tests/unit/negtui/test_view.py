from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.commands import SessionRow, Sessions, Snapshot
from daemon.protocol.events import (
    AdapterSaved,
    CheckpointSaved,
    Gauges,
    ImagesMarked,
    JobRow,
    JobStateChanged,
    Logged,
    Mark,
    MetricsRecorded,
    ResidentPart,
    Residents,
    RoundClosed,
    SessionChanged,
    State,
    StepProgress,
    VoteCast,
    WorkerChanged,
)
from negtui.view import ALL, MAX_GAUGES, MAX_LINES, Connection, View, adopt, apply, recall, running
from tests.fake_daemon import JOBS, good, image


def row(id: str = "a", state: State = "running", created: float = 1.0) -> JobRow:
    return JobRow(id=id, key="k" * 8, spec=JOBS["train"], state=state, created=created)


def metrics(steps: Sequence[int], job_id: str = "a", **values: Sequence[float]) -> MetricsRecorded:
    return MetricsRecorded(job_id=job_id, steps=tuple(steps), values={name: tuple(found) for name, found in values.items()})


def adapter(job_id: str, step: int | None = None) -> AdapterSaved:
    return AdapterSaved(job_id=job_id, session="toy", name="wrong", path="p", sha256="s", num_bytes=1, step=step)


def test_of_a_session_that_is_gone_nothing_stays() -> None:
    view = View(adapters={("toy", "wrong"): adapter("a"), ("second", "wrong"): adapter("b")})
    apply(view, Sessions(sessions=(SessionRow(name="second"),)), 0.0)
    assert list(view.adapters) == [("second", "wrong")]


def test_each_event_changes_its_own_fields() -> None:
    view = View()
    assert apply(view, Snapshot(jobs=(row(),), sessions=(SessionRow(name="toy"),), workers={"w": "ready"}), 0.0) == ALL
    assert apply(view, StepProgress(job_id="a", phase="train", step=1, num_steps=2), 0.0) == {"progress"}
    assert apply(view, Gauges(device="gpu"), 0.0) == {"gauges"}
    assert apply(view, WorkerChanged(worker="w", state="lost"), 0.0) == {"workers"}
    assert apply(view, Residents(worker="w", parts=(ResidentPart(name="unet", kind="base", num_bytes=1, device="cpu"),)), 0.0) == {
        "residents"
    }
    assert apply(view, Sessions(sessions=()), 0.0) == {"sessions"}
    assert apply(view, Connection("lost", 1.0), 0.0) == {"connection"}
    assert apply(view, SessionChanged(session="toy", change="edited"), 0.0) == {"edits"}
    assert apply(view, metrics([1, 2], loss=[0.5, 0.4]), 0.0) == {"curves"}
    assert apply(view, metrics([0], held_out_loss=[0.5]), 0.0) == {"curves", "lines"}
    assert apply(view, CheckpointSaved(job_id="a", step=2, path="c"), 0.0) == {"checkpoints", "lines"}
    assert apply(view, image(row(), 0, False), 0.0) == {"images", "lines"}
    assert apply(view, adapter("a"), 0.0) == {"adapters", "lines"}
    assert view.curves["a"]["loss"].steps == [1, 2]
    assert view.workers["w"].state == "lost"


def test_whatever_a_job_tells_to_its_end_is_there() -> None:
    for kind in ("synthesize", "train", "compare"):
        view, job = View(), JobRow(id="a", key="k" * 8, spec=JOBS[kind], state="queued", created=1.0)
        for event in good(job):
            apply(view, event, 5.0)
        assert view.jobs["a"].state == "done"
        assert view.progress == {}
        assert [line.text for line in view.lines["a"]][-1] == "done"
        assert all(line.time == 5.0 for line in view.lines["a"])
    assert list(view.comparisons) == [("toy", "default")]
    assert len(view.images["a"]) == 4


def test_progress_of_a_job_that_ended_is_not_shown() -> None:
    view = View()
    apply(view, JobStateChanged(job=row()), 0.0)
    apply(view, StepProgress(job_id="a", phase="train", step=1, num_steps=2), 0.0)
    assert running(view) == row()
    assert apply(view, JobStateChanged(job=row(state="done")), 0.0) >= {"progress"}
    assert apply(view, StepProgress(job_id="a", phase="train", step=2, num_steps=2), 0.0) == frozenset()
    assert (view.progress, running(view)) == ({}, None)


def test_another_snapshot_replaces_all_but_the_connection() -> None:
    view = View(connection=Connection("connected", 3.0))
    apply(view, JobStateChanged(job=row()), 0.0)
    apply(view, metrics([1], loss=[1.0]), 0.0)
    apply(view, Snapshot(jobs=(row("b"),)), 0.0)
    assert list(view.jobs) == ["b"]
    assert view.curves == {}
    assert view.connection.state == "connected"


def test_logs_and_gauges_keep_the_newest() -> None:
    view = View()
    for number in range(MAX_LINES + 10):
        apply(view, Logged(job_id="a", level="info", message=str(number)), 0.0)
        apply(view, Gauges(device="g", utilisation=float(number)), 0.0)
    assert (len(view.logs["a"]), len(view.lines["a"]), len(view.gauges["g"])) == (MAX_LINES, MAX_LINES, MAX_GAUGES)
    assert view.lines["a"][-1].text == str(MAX_LINES + 9)
    assert view.lines["a"][0].text == "10"


def test_marks_are_whole_and_the_later_ones_count() -> None:
    view = View()
    for status in ("keep", "reject"):
        apply(view, ImagesMarked(session="toy", folder="dataset", marks=(Mark(id="1", status=status),)), 0.0)  # type: ignore[arg-type]
    assert view.marks == {("toy", "dataset"): {"1": Mark(id="1", status="reject")}}


def test_of_votes_the_latest_news_is_known() -> None:
    view, place = View(), {"session": "toy", "comparison": "default", "round_id": "a" * 12, "voter": "me"}
    assert apply(view, VoteCast(**place, number=0, choice="tie"), 0.0) == {"votes"}  # type: ignore[arg-type]
    assert apply(view, RoundClosed(**place, num_votes=1), 0.0) == {"votes"}  # type: ignore[arg-type]
    assert view.votes == {("toy", "default"): RoundClosed(**place, num_votes=1)}  # type: ignore[arg-type]


@given(st.lists(st.integers(min_value=1, max_value=40), max_size=30))
def test_a_curve_rises_and_tells_no_step_twice(batches: list[int]) -> None:
    view = View()
    for batch in batches:
        apply(view, metrics(range(batch, batch + 3), loss=[float(step) for step in range(batch, batch + 3)]), 0.0)
    curve = view.curves.get("a", {}).get("loss")
    wanted = sorted({step for batch in batches for step in range(batch, batch + 3)})
    assert (curve.steps if curve else []) == wanted
    assert (curve.values if curve else []) == [float(step) for step in wanted]


def test_a_history_replaces_what_was_told_but_not_where_the_job_stands() -> None:
    view, history = View(), View()
    apply(view, Snapshot(jobs=(row(state="done"),)), 0.0)
    apply(view, adapter("b", step=7), 0.0)
    apply(view, Logged(job_id="a", level="info", message="half"), 9.0)
    for event in (JobStateChanged(job=row()), Logged(job_id="a", level="info", message="first"), metrics([1], loss=[1.0]), adapter("a")):
        recall(history, event, 2.0)
    assert adopt(view, "a", history) >= {"curves", "lines"}
    assert view.jobs["a"].state == "done"
    assert [line.text for line in view.lines["a"]][:2] == ["running", "first"]
    assert view.lines["a"][0].time == 2.0
    assert view.adapters["toy", "wrong"].step == 7
