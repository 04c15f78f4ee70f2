from __future__ import annotations

import msgspec
import pytest

from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import (
    AnyEvent,
    CheckpointSaved,
    Gauges,
    JobAccepted,
    JobRow,
    JobStateChanged,
    Logged,
    MetricsRecorded,
    SessionChanged,
    StepProgress,
    WorkerChanged,
)
from negtui import wording
from negtui.wording import Reading
from tests.fake_daemon import EFFECT, JOBS, image

ROW = JobRow(id="j", key="k" * 8, spec=JOBS["synthesize"], state="queued", created=0.0)


def test_acts_are_named_as_the_commands_are() -> None:
    assert [wording.act(spec) for spec in JOBS.values()] == ["synthesise", "train", "compare"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (StepProgress(job_id="j", phase="train", step=5, num_steps=20), Reading(0.25, "train: step 5 of 20", "train")),
        (
            StepProgress(
                job_id="j", phase="paint", step=5, num_steps=10, image_index=1, num_images=3, steps_per_second=2.0, eta_seconds=90
            ),
            Reading(0.5, "paint: image 2 of 3, 2.0 steps/s, 1 min 30 s left", "paint"),
        ),
        (StepProgress(job_id="j", phase="load", step=0, num_steps=0), Reading(0.0, "load: step 0 of 0", "load")),
        (image(ROW, 1, reused=False), Reading(0.5, "2 of 4 images")),
        (Gauges(device="cuda:0"), None),
    ],
)
def test_events_say_how_far_a_job_is(event: AnyEvent, expected: Reading | None) -> None:
    assert wording.reading(event) == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (JobAccepted(job=ROW), "accepted: synthesise toy"),
        (JobStateChanged(job=msgspec.structs.replace(ROW, state="blocked", reason="no room")), "blocked: no room"),
        (
            JobStateChanged(
                job=msgspec.structs.replace(ROW, state="failed", error=ErrorDetail(code="gpu_oom", message="Full.", hint="Less."))
            ),
            "failed: Full. Less.",
        ),
        (image(ROW, 0, reused=True), "image 1 of 4 was there: dataset/0.png (blurry)"),
        (CheckpointSaved(job_id="j", step=100, path="checkpoints/x"), "checkpoint at step 100: checkpoints/x"),
        (MetricsRecorded(job_id="j", steps=(1, 2), values={"loss": (0.25, 0.5), "empty": ()}), "steps 1 to 2: loss 0.375"),
        (MetricsRecorded(job_id="j", steps=(), values={}), None),
        (Logged(job_id="j", level="warning", message="mind"), "warning: mind"),
        (WorkerChanged(worker="worker", state="lost", message="killed"), "worker worker is lost: killed"),
        (SessionChanged(session="toy", change="edited"), "session toy edited"),
        (StepProgress(job_id="j", phase="train", step=1, num_steps=2), None),
    ],
)
def test_events_are_lines_of_a_log(event: AnyEvent, expected: str | None) -> None:
    assert wording.told(event) == expected


def test_effects_are_a_table_of_means_differences_and_intervals() -> None:
    lines = [" ".join(line.split()) for line in wording.effects_table([EFFECT])]
    assert lines == [
        "metric arms mean against difference 95 % interval",
        "flaw_probability target - baseline 0.135 0.191 -0.056 [-0.079, -0.034] better",
    ]
