"""Our trainer beside diffusers' own script, unmodified: steps per second as ratios, and the loss curves where the random draws are equal.

    python tests/bench/trainer_speed.py --reference .../train_dreambooth_lora_sdxl.py [--python-path FOLDER]
    python tests/bench/trainer_speed.py --reference ... --gpu FOLDER     # full-size SDXL of random weights: see `trainer_gpu.py`

FOLDER of --python-path holds what the script imports and this machine lacks (torchvision's transforms). The script, the trainer and the
bare modules (forward, backward, optimizer on fixed inputs) run on the same model, pictures, batch size, precision, seed and number of
threads, all at once, but take turns of a few steps: A B C A B C ... A step is timed from one end to the next one's, so that start-up counts
nowhere; the first turn is thrown away. Ratios are taken between neighbouring turns, and their median is printed with the middle half.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from trainer_runs import MAX_STEPS, Settings

from daemon.protocol.training_spec import TrainingSpec
from daemon.toy import BASE_PATH
from daemon.toy.scenes import draw, random_scene

KINDS = ("reference", "ours", "bare")
OVERLAY_STEPS, EARLY_STEPS = 200, 50
OVERLAYS: dict[str, dict[str, Any]] = {
    "batch 4": {"train_batch_size": 4},
    "batch 4, snr_gamma 5": {"train_batch_size": 4, "snr_gamma": 5.0},
    "batch 1, prior preservation": {"with_prior_preservation": True, "class_prompt": "a red circle", "num_class_images": 1},
}
"""What the script does rightly: at batch 2 it gives class images the instance's prompt, and with both options it ends with an error."""

OTHER_ROUNDING = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""Other vector instructions: sums in another order, and nothing else."""

Curves = dict[str, tuple[list[float], list[float]]]


class Run:
    """A training in a process of its own, standing still until its turn."""

    def __init__(self, kind: str, settings: Settings, folder: Path, num_threads: int, environment: Mapping[str, str]) -> None:
        path = folder / f"{kind}.json"
        path.write_bytes(msgspec.json.encode(settings))
        self._log_path = folder / f"{kind}.log"
        environment = (
            os.environ | environment | {"OMP_NUM_THREADS": str(num_threads), "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(folder / "xdg")}
        )
        environment |= {"ACCELERATE_USE_CPU": "true"} if settings.device == "cpu" else {}
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("trainer_runs.py")), kind, str(path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
            )  # fmt: skip
        self.first = self._report()

    def take_turn(self) -> dict[str, Any]:
        """Let it run for a turn; its report."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._report()

    def end(self) -> None:
        self._process.communicate()

    def _report(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the run ended early:\n{self._log_path.read_text(errors='replace')[-3000:]}")
        return json.loads(line)


@contextlib.contextmanager
def runs(
    kinds: Sequence[str], settings: Settings, num_threads: int, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[dict[str, Run]]:
    """All of them started one after another, each past its first turn."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        found = {}
        for kind in kinds:
            found[kind] = Run(kind, settings, Path(folder), num_threads, environment)
            stack.callback(found[kind].end)
        yield found


def measure(settings: Settings, num_threads: int, num_turns: int) -> dict[str, list[dict[str, Any]]]:
    """The reports of every kind's turns, taken in turn."""
    reports: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    with runs(KINDS, settings, num_threads) as found:
        for _ in range(num_turns):
            for kind, run in found.items():
                reports[kind].append(run.take_turn())
    return reports


def row(label: str, reports: dict[str, list[dict[str, Any]]]) -> str:
    """Speed against the reference and cost above the bare modules, by the wall clock and by the time on the processor."""

    def quotients(above: str, below: str, clock: str) -> list[float]:
        return [a[clock] / b[clock] for a, b in zip(reports[above], reports[below], strict=True)]

    speed, overhead = quotients("reference", "ours", "seconds"), quotients("ours", "bare", "seconds")
    cells = [label, _spread(speed, "x")]
    cells += [f"{statistics.median(quotients('reference', 'ours', 'cpu_seconds')):.2f}x"]
    cells += [f"{100 * (statistics.median(overhead) - 1):+.0f} %"]
    return "| " + " | ".join(cells) + " |"


def head() -> str:
    titles = ["", "steps per second, ours : the script's", "by processor time", "time per step above the bare modules"]
    return f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}"


def _spread(values: Sequence[float], unit: str) -> str:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"**{middle:.2f}{unit}** [{low:.2f}, {high:.2f}]"


def make_session(folder: Path, num_images: int, size: int) -> Path:
    """A session folder whose dataset is drawn."""
    (folder / "dataset").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(num_images):
        draw(random_scene(rng), size).save(folder / "dataset" / f"{index:05d}.png")
    return folder


def overlays(settings: Settings, num_threads: int) -> Curves:
    """Loss curves at equal draws: ours beside the script's, and the script's beside its own with other rounding."""

    def first_turn(kind: str, settings: Settings, environment: Mapping[str, str] = MappingProxyType({})) -> list[float]:
        with runs((kind,), settings, num_threads, environment) as found:
            return found[kind].first["losses"]

    curves: Curves = {}
    settings = msgspec.structs.replace(settings, turn=OVERLAY_STEPS, equal_draws=True)
    for label, changes in OVERLAYS.items():
        spec = msgspec.structs.replace(settings.training, max_train_steps=OVERLAY_STEPS, **changes)
        if spec.with_prior_preservation:
            folder = Path(settings.session).parent / "class"
            spec = msgspec.structs.replace(spec, class_data_dir=str(make_session(folder, 1, spec.resolution) / "dataset"))
        here = msgspec.structs.replace(settings, training=spec)
        reference = first_turn("reference", here)
        curves[label] = first_turn("ours", here), reference
        if len(curves) == 1:
            curves[f"{label}, the script beside itself, rounded otherwise"] = first_turn("reference", here, OTHER_ROUNDING), reference
    return curves


def picture(curves: Curves) -> Image.Image:
    """A panel for each: the script's curve broad and pale, the other thin and dark on top of it."""
    width, height, margin = 640, 150, 26
    paper = Image.new("RGB", (width, height * len(curves)), "white")
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(11)
    for panel, (label, (ours, reference)) in enumerate(curves.items()):
        top, highest = panel * height, max(*ours, *reference)
        for losses, ink, breadth in ((reference, (250, 180, 120), 5), (ours, (20, 40, 120), 1)):
            across, up = (width - 2 * margin) / len(losses), (height - 40) / highest
            pen.line([(margin + across * i, top + height - 16 - up * loss) for i, loss in enumerate(losses)], ink, breadth)
        words = "broad: the reference script" + ("" if "itself" in label else ", thin: negtui")
        pen.text((margin, top + 4), f"{label}: loss over {len(ours)} steps; {words}", "black", font)
        pen.line([(margin, top + height - 15), (width - margin, top + height - 15)], (150, 150, 150))
        pen.text((2, top + 22), f"{highest:.1f}", (110, 110, 110), font)
        pen.text((8, top + height - 24), "0", (110, 110, 110), font)
    return paper


def differences(curves: Curves) -> str:
    titles = ["equal draws", f"largest difference of the loss, steps 1-{EARLY_STEPS}", f"steps 1-{OVERLAY_STEPS}", "relative"]
    lines = [f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}"]
    for label, (ours, reference) in curves.items():
        gaps = np.abs(np.subtract(ours, reference))
        lines.append(f"| {label} | {gaps[:EARLY_STEPS].max():.1e} | {gaps.max():.1e} | {(gaps / np.abs(reference)).max():.1e} |")
    return "\n".join(lines)


def cpu_settings(given: argparse.Namespace, folder: Path) -> Settings:
    """The toy, copied: its folder may be swapped while this runs."""
    shutil.copytree(BASE_PATH, folder / "base")
    spec = TrainingSpec(resolution=64, gradient_accumulation_steps=1, checkpointing_steps=MAX_STEPS, max_train_steps=MAX_STEPS)
    session_path = make_session(folder / "session", given.num_images, 64)
    return Settings(
        model=str(folder / "base"), session=str(session_path), training=spec, turn=given.turn,
        reference=str(given.reference.resolve()), python_path=given.python_path,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="diffusers' train_dreambooth_lora_sdxl.py")
    parser.add_argument("--python-path", default="", help="folder of what the script imports and this machine lacks")
    parser.add_argument("--threads", type=int, default=1, help="of each training on the CPU")
    parser.add_argument("--turn", type=int, default=20, help="steps of a turn")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--num-images", type=int, default=36)
    parser.add_argument("--overlay", type=Path, metavar="PNG", help="draw the loss curves at equal draws")
    parser.add_argument("--only-overlay", action="store_true")
    parser.add_argument("--gpu", type=Path, metavar="FOLDER", help="full-size SDXL on CUDA, its weights (14 GB) written into FOLDER")
    parser.add_argument("--rehearsal", action="store_true", help="what --gpu does, with the toy on the CPU: its figures mean nothing")
    given = parser.parse_args()
    if given.gpu is not None and not torch.cuda.is_available():
        raise SystemExit("--gpu needs CUDA, and torch finds none.")
    with tempfile.TemporaryDirectory(prefix="negtui-bench-") as name:
        folder = Path(name)
        settings = cpu_settings(given, folder)
        if given.gpu is not None or given.rehearsal:
            from trainer_gpu import measure_all

            measure_all(settings, given.gpu, folder)
            return 0
        if not given.only_overlay:
            print(head(), flush=True)
            for batch_size in (1, 4):
                ours = msgspec.structs.replace(settings, training=msgspec.structs.replace(settings.training, train_batch_size=batch_size))
                print(row(f"batch {batch_size}", measure(ours, given.threads, given.turns)), flush=True)
        if given.overlay is not None:
            curves = overlays(settings, given.threads)
            print("\n" + differences(curves))
            picture(curves).quantize(32).save(given.overlay, optimize=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
