"""What a training of many steps tells: four curves, as noisy as losses are, and its progress."""

from __future__ import annotations

from daemon.protocol.events import JobRow, MetricsRecorded, StepProgress

METRICS = ("loss", "held_out_loss", "learning_rate", "grad_norm")
NUM_POINTS = 10_000
STEPS_PER_SECOND = 20


def points(row: JobRow, first: int, count: int) -> MetricsRecorded:
    """So many steps of the four curves."""
    steps = tuple(range(first, first + count))
    falling = {
        name: tuple(scale / (1 + step / 900) * (1 + (step * 7919 % 97) / 300) for step in steps) for scale, name in enumerate(METRICS, 1)
    }
    return MetricsRecorded(job_id=row.id, steps=steps, values=falling)


def progress(row: JobRow, step: int) -> StepProgress:
    return StepProgress(
        job_id=row.id, phase="train", step=step, num_steps=100_000, steps_per_second=19.8 + step % 3 / 10, eta_seconds=500.0
    )
