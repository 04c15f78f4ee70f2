"""A small sweep on the fakes of `tests/fake_sweep.py`. No torch."""

from __future__ import annotations

from typing import Any

from comparing import job as compare_job

from daemon.protocol.specs import SweepJob, sweep_job
from daemon.protocol.sweep_spec import SweepSpec

AXES: dict[str, Any] = {"weights": (0.5, 0.6, 4.0), "guidance_windows": ((0.0, 1.0), (0.0, 0.8))}


def sweep_of(num_prompts: int = 24, **changes: Any) -> SweepJob:
    """Six cells on a few prompts at 16 x 16 pixels, the first look after 8 blocks."""
    spec = SweepSpec(**{"first_look": 8, **AXES, **changes})
    job = compare_job(num_prompts)
    return sweep_job(job.session, job.model, spec, job.comparison)
