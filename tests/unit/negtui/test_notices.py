from __future__ import annotations

import msgspec
import pytest

from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import JobRow, JobStateChanged, State, StepProgress, WorkerChanged
from negtui.notices import notice
from negtui.view import View
from tests.fake_daemon import JOBS

ROW = JobRow(id="a", key="k" * 8, spec=JOBS["train"], state="running", created=1.0, started=10.0)


def told(state: State, **fields: object) -> tuple[str, str] | None:
    return notice(View(jobs={"a": ROW}), JobStateChanged(job=msgspec.structs.replace(ROW, state=state, **fields)))


@pytest.mark.parametrize(
    ("state", "fields", "words", "severity"),
    [
        ("done", {"finished": 70.0}, "train toy: done in 1 min 00 s", "information"),
        ("failed", {"error": ErrorDetail(code="internal", message="It broke.", hint="Mend it.")}, "It broke. Mend it.", "error"),
        ("blocked", {"reason": "no room"}, "train toy: blocked: no room", "warning"),
        ("cancelled", {}, "train toy: cancelled", "information"),
    ],
)
def test_ends_are_told_in_words(state: State, fields: dict[str, object], words: str, severity: str) -> None:
    said = told(state, **fields)
    assert said is not None
    assert words in said[0]
    assert said[1] == severity


def test_what_is_known_or_goes_on_is_not_told() -> None:
    assert told("running") is None
    assert notice(View(), JobStateChanged(job=msgspec.structs.replace(ROW, state="done"))) is None
    assert notice(View(), StepProgress(job_id="a", phase="train", step=1, num_steps=1)) is None


def test_a_lost_worker_is_told_without_escapes() -> None:
    assert notice(View(), WorkerChanged(worker="w", state="lost", message="\x1b[2Jgone")) == ("Worker w is lost: gone", "error")
    assert notice(View(), WorkerChanged(worker="w", state="busy")) is None
