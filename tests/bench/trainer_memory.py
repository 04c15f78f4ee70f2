"""Peak memory of a training on the CPU by the number of its pictures, as a Markdown table.

    python tests/bench/trainer_memory.py [--num-images 300 --num-images 10000] [--steps 30]

Draws so many different pictures of 64 px, trains a few steps of the toy on them in a process of its own, from the dataset's reading to
the finished adapter, and reads the process's peak of resident memory (VmHWM of Linux). `MiB above`: more than with the first folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def peak_mib() -> float:
    """The largest resident memory of this process so far; not its parent's, as `ru_maxrss` may be."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def draw_session(session_path: Path, num_images: int) -> None:
    """So many different small pictures."""
    import numpy as np

    from daemon.toy.scenes import draw, random_scene

    folder = session_path / "dataset"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(num_images):
        draw(random_scene(rng), 64).save(folder / f"{index:05d}.png", compress_level=1)


def train_and_tell(session_path: Path, num_steps: int) -> None:
    """The body of the child: prints its peak and the phases' seconds."""
    from daemon.engine.models import create_engine
    from daemon.protocol.specs import ModelSpec, TrainJob
    from daemon.protocol.training_spec import TrainingSpec
    from daemon.recipe import JobContext
    from daemon.training.recipe import train

    spec = TrainingSpec(resolution=64, train_batch_size=4, gradient_accumulation_steps=1, max_train_steps=num_steps)
    context = JobContext(job_id="bench", session="bench", session_path=session_path, engine=create_engine(session_path / "cache"))
    for _ in train(TrainJob(session="bench", model=ModelSpec(base="toy"), training=spec), context):
        pass
    print(peak_mib(), *(f"{name}:{seconds:.1f}" for name, seconds in context.timings.items()))


def measure(num_images: int, num_steps: int) -> tuple[float, str]:
    """Peak in MiB, and the phases in words."""
    with tempfile.TemporaryDirectory(prefix="negtui-bench-") as name:
        session_path = Path(name) / "session"
        draw_session(session_path, num_images)
        begun = time.perf_counter()
        command = [sys.executable, __file__, "--child", str(session_path), "--steps", str(num_steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(name))
        if done.returncode:
            raise SystemExit(f"the training ended early:\n{done.stderr[-3000:]}")
        peak, *phases = done.stdout.split()
        return float(peak), f"{time.perf_counter() - begun:.0f} s ({', '.join(phases)})"


def _environment(folder: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": folder}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, action="append")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        train_and_tell(given.child, given.steps)
        return
    print("| pictures | peak MiB | MiB above | the whole run |\n|---|---|---|---|")
    least = None
    for num_images in given.num_images or [300, 10_000]:
        peak, words = measure(num_images, given.steps)
        least = peak if least is None else least
        print(f"| {num_images:,} | {peak:.0f} | {peak - least:+.0f} | {words} |", flush=True)


if __name__ == "__main__":
    main()
