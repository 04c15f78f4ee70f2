from __future__ import annotations

import msgspec
import pytest

from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import (
    AdapterSaved,
    AnyEvent,
    CheckpointSaved,
    Gauges,
    JobAccepted,
    JobRow,
    JobStateChanged,
    Logged,
    MetricsRecorded,
    SamplePicture,
    SamplesSaved,
    SessionChanged,
    StepProgress,
    WorkerChanged,
)
from negtui import wording
from negtui.wording import Reading
from tests.fake_daemon import EFFECT, JOBS, image

SAMPLES = SamplesSaved(
    job_id="j",
    session="toy",
    run="wrong-1f",
    step=100,
    pictures=tuple(
        SamplePicture(arm=arm, prompt="p", negative_prompt=None, seed=0, path=f"samples/wrong-1f/step-{step:06d}/{arm}-00.png", sha256="ab")
        for arm, step in (("baseline", 0), ("target", 100))
    ),
)
STOPPED = AdapterSaved(
    job_id="j",
    session="toy",
    name="wrong",
    path="adapters/wrong/x",
    sha256="ab",
    num_bytes=9,
    step=6,
    reason="stopped by request after step 6 of 9",
)
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
        (
            StepProgress(
                job_id="j",
                phase="train",
                step=5,
                num_steps=20,
                steps_per_second=2.0,
                eta_seconds=7.5,
                samples_per_second=8.0,
                memory_bytes=3 * 2**29,
                values={"loss": 0.25, "leak": 0.5},
            ),
            Reading(0.25, "train: step 5 of 20, loss 0.2500, 2.0 steps/s (8.0 images/s), 7.5 s left, 1.5 GiB", "train"),
        ),
        (
            StepProgress(job_id="j", phase="sample", step=3, num_steps=10, image_index=1, num_images=6),
            Reading(None, "sample: image 2 of 6"),
        ),
        (StepProgress(job_id="j", phase="validate", step=3, num_steps=10), Reading(None, "validate: step 3 of 10")),
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
        (MetricsRecorded(job_id="j", steps=(0,), values={"leak": (0.5,)}), "before the first step: leak 0.5"),
        (MetricsRecorded(job_id="j", steps=(9,), values={"leak": (0.5,)}), "step 9: leak 0.5"),
        (SAMPLES, "samples of step 100 (baseline 1, target 1): samples/wrong-1f/step-000100"),
        (
            msgspec.structs.replace(SAMPLES, step=0, pictures=SAMPLES.pictures[:1]),
            "samples before the first step (baseline 1): samples/wrong-1f/step-000000",
        ),
        (STOPPED, "adapter wrong saved, the weights of step 6 (stopped by request after step 6 of 9): adapters/wrong/x (sha256 ab)"),
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


def test_what_a_follower_keeps_is_what_does_not_come_every_moment() -> None:
    kept = [
        SAMPLES,
        STOPPED,
        MetricsRecorded(job_id="j", steps=(9,), values={"leak": (0.5,)}),
        Logged(job_id="j", level="info", message="m"),
    ]
    assert all(wording.stays(event) for event in kept)
    passing = [
        MetricsRecorded(job_id="j", steps=(9,), values={"loss": (0.5,)}),
        MetricsRecorded(job_id="j", steps=(), values={}),
        CheckpointSaved(job_id="j", step=1, path="x"),
        msgspec.structs.replace(STOPPED, step=None, reason=""),
        JobAccepted(job=ROW),
    ]
    assert not any(wording.stays(event) for event in passing)
