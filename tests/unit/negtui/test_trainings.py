from __future__ import annotations

import msgspec

from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import JobRow, StepProgress
from negtui import trainings
from negtui.view import Curve, View
from tests.fake_daemon import JOBS


def a_view(*rows: JobRow) -> View:
    return View(jobs={row.id: row for row in rows})


def a_run(number: int, kind: str = "train", **fields: object) -> JobRow:
    row = JobRow(id=f"job{number:06}", key="k" * 8, spec=JOBS[kind], state="done", created=float(number))
    return msgspec.structs.replace(row, **fields)


def words(view: View, row: JobRow | None, session: str | None = "toy") -> str:
    return "".join(part.text for part in trainings.run_words(view, session, row))


def test_runs_are_the_trainings_of_the_session_oldest_first() -> None:
    view = a_view(a_run(2), a_run(1), a_run(3, "compare"))
    assert [row.id for row in trainings.runs_of(view, "toy")] == ["job000001", "job000002"]
    assert trainings.runs_of(view, "other") == []


def test_older_runs_follow_newest_first() -> None:
    runs = [a_run(number) for number in range(4)]
    assert [row.id[-1] for row in trainings.with_older(runs, "job000002", 1)] == ["2", "1"]
    assert [row.id[-1] for row in trainings.with_older(runs, "job000001", 3)] == ["1", "0"]
    assert trainings.with_older(runs, None, 3) == []


def test_every_run_keeps_its_place_in_every_metric() -> None:
    view = a_view(a_run(1), a_run(2))
    view.curves = {"job000001": {"leak": Curve([1], [0.5])}, "job000002": {"loss": Curve([1], [1.0])}}
    found = trainings.curves_by_metric(view, [view.jobs["job000002"], view.jobs["job000001"]])
    assert [(label, curve.values) for label, curve in found["leak"]] == [("000002", []), ("000001", [0.5])]
    assert list(found) == ["leak", "loss"]


def test_a_running_run_tells_its_pace() -> None:
    view = a_view(row := a_run(1, state="running"))
    view.progress[row.id] = StepProgress(
        job_id=row.id, phase="train", step=3, num_steps=4, steps_per_second=4.25, eta_seconds=65.0, memory_bytes=2**30
    )
    assert words(view, row) == "toy  run 1 of 1 (000001)   running   train 3/4  4.25 it/s  1 min 05 s left  1.0 GiB"


def test_a_failed_run_tells_why_without_escapes() -> None:
    error = ErrorDetail(code="gpu_oom", message="out of\n\x1b[2Jmemory")
    view = a_view(row := a_run(1, state="failed", error=error))
    view.curves[row.id] = {"loss": Curve([1, 2], [1.0, 0.5])}
    assert words(view, row) == "toy  run 1 of 1 (000001)  failed  step 2/4  out of memory"


def test_nothing_yet_says_what_to_do() -> None:
    assert "press 1" in words(View(), None, None)
    assert "r starts it" in words(View(), None)
