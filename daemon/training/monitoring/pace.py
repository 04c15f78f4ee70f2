"""How fast a training goes, how long it still takes, and the memory it needs: what is told with every step and never stored.

Knows nothing of what a step does. Time spent between steps (samples, measurements, checkpoints) does not count.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.protocol.events import StepProgress
from daemon.protocol.training_spec import TrainingSpec

NUM_TIMED = 20
"""So many of the last steps make the pace."""


class Pace:
    """The clock of a run. `start` before a step, `progress` after it."""

    def __init__(self, job_id: str, spec: TrainingSpec, memory_bytes: Callable[[], int | None]) -> None:
        self._job_id, self._num_steps, self._memory_bytes = job_id, spec.max_train_steps, memory_bytes
        self._num_images = spec.train_batch_size * spec.gradient_accumulation_steps
        self._seconds: deque[float] = deque(maxlen=NUM_TIMED)
        self._begun = time.perf_counter()

    def start(self) -> None:
        """A step begins now."""
        self._begun = time.perf_counter()

    def progress(self, step: int, values: dict[str, float]) -> StepProgress:
        """Step `step` is done; `values` are the newest readings, `loss` among them. The first step is slower: no pace yet."""
        self._seconds.append(time.perf_counter() - self._begun)
        timed = list(self._seconds)[1:]
        rate = len(timed) / max(sum(timed), 1e-9) if timed else None
        return StepProgress(
            job_id=self._job_id,
            phase="train",
            step=step,
            num_steps=self._num_steps,
            label=f"loss {values['loss']:.4f}",
            steps_per_second=rate,
            eta_seconds=(self._num_steps - step) / rate if rate else None,
            samples_per_second=rate * self._num_images if rate else None,
            memory_bytes=self._memory_bytes(),
            values=values,
        )


def memory_reader(device: Any) -> Callable[[], int | None]:
    """What tells the bytes in use: the most that tensors took on a GPU since now, what the process holds resident on a CPU."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return lambda: int(torch.cuda.max_memory_allocated(device))
    return resident_bytes


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int | None:
    """Resident memory of this process; None where the system does not tell it as Linux does."""
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
