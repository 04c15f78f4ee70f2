"""Full-size SDXL on a GPU: our trainer's steps beside the reference script's, and what they make of the card. For `trainer_speed.py --gpu`.

Every case trains in a process of its own, alone on the card, and one that does not fit is told as such. `of the ceiling`: useful
operations a second, as `trainer_cost.py` counts them without gradient checkpointing, beside those of a large matrix product.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from trainer_cost import adapted_unet, count
from trainer_runs import Settings
from trainer_speed import make_session, runs

from daemon.protocol.training_spec import TrainingSpec

NUM_TURNS = 3
CONTEXT_GIB = 0.75
"""What CUDA itself takes of a card, beside what torch takes."""
RECIPE_STEPS = 500


@dataclass(frozen=True)
class Scale:
    """How large everything is: of the benchmark, or of its rehearsal."""

    batch_sizes: tuple[int, ...]
    turn: int
    side: int
    """Of the matrices that the ceiling is measured with."""
    recipe_steps: int
    num_vae_levels: int
    """An image is 2^(levels - 1) times as large as its latents."""


FULL = Scale((1, 2, 4), turn=5, side=8192, recipe_steps=RECIPE_STEPS, num_vae_levels=4)
REHEARSAL = Scale((1,), turn=2, side=256, recipe_steps=4, num_vae_levels=3)


@dataclass(frozen=True)
class Timing:
    """Of a case that ran: seconds a step, and the peak while it was loaded and cached, and while it trained."""

    step_seconds: float
    start_gib: float
    peak_gib: float


def measure_all(toy: Settings, folder: Path | None, temporary: Path) -> None:
    """Print every table. `toy`: the settings of the CPU's benchmark; `folder`: of the large model, or None for a rehearsal with the toy."""
    settings, scale = (toy, REHEARSAL) if folder is None else (_full_size(toy, folder, temporary), FULL)
    ceiling = matmul_flops(settings, scale.side)
    print(
        f"{_device(settings)}, torch {torch.__version__}; a {settings.dtype} product of {scale.side}^3: {ceiling / 1e12:.1f} TFLOP/s\n",
        flush=True,
    )
    steps(settings, scale, ceiling)
    if settings.device == "cuda":
        small_cards(settings)
    recipe(settings, scale)


def steps(settings: Settings, scale: Scale, ceiling: float) -> None:
    """A row for each batch size, with and without gradient checkpointing, eager and compiled; the script is measured once for both."""
    titles = ["batch", "gradient checkpointing", "compiled", "ms a step", "the script's", "speed", "peak GiB", "the script's"]
    print(_head([*titles, "TFLOP/s", "of the ceiling"]), flush=True)
    unet = adapted_unet(_unet_config(settings))
    for batch_size in scale.batch_sizes:
        flops = count(unet, batch_size, settings.training.resolution, 2 ** (scale.num_vae_levels - 1)).flops
        for is_twice in (False, True):
            case = _with(settings, scale.turn, train_batch_size=batch_size, gradient_checkpointing=is_twice)
            reference = attempt("reference", case)
            for compiled in (False, True):
                ours = attempt("ours", _with(case, scale.turn, torch_compile=compiled))
                words = [str(batch_size), *("yes" if one else "no" for one in (is_twice, compiled))]
                print(_row([*words, *_cells(ours, reference, flops, ceiling)]), flush=True)


def small_cards(settings: Settings) -> None:
    """One configuration for each of two smaller cards, under a cap of memory."""
    print("\n" + _head(["card", "configuration", "ms a step", "peak GiB while loading and caching", "peak GiB of the steps"]), flush=True)
    for card_gib, batch_size in ((12, 2), (8, 1)):
        case = _with(settings, FULL.turn, train_batch_size=batch_size, gradient_checkpointing=True)
        found = attempt("ours", msgspec.structs.replace(case, memory_gib=card_gib - CONTEXT_GIB))
        cells = [found, "", ""] if isinstance(found, str) else [_ms(found), f"{found.start_gib:.2f}", f"{found.peak_gib:.2f}"]
        cap = f"{card_gib} GB (torch may take {card_gib - CONTEXT_GIB} GiB)"
        print(_row([cap, f"batch {batch_size}, gradient checkpointing", *cells]), flush=True)


def recipe(settings: Settings, scale: Scale) -> None:
    """The whole of a run: loading, caching, so many steps at the spec's own batch and accumulation."""
    own = TrainingSpec()
    words = f"batch {own.train_batch_size} x accumulation {own.gradient_accumulation_steps}"
    options = {name: getattr(own, name) for name in ("train_batch_size", "gradient_accumulation_steps")}
    case = _with(settings, scale.recipe_steps, **options)
    with runs(("ours",), case, 1) as found:
        print(f"\n{scale.recipe_steps} steps, {words}, from loading the model on: {found['ours'].first['seconds']:.0f} s")


def attempt(kind: str, settings: Settings) -> Timing | str:
    """Run a case alone; in words where it does not fit the card. Raises `SystemExit` where it failed otherwise."""
    try:
        with runs((kind,), settings, 1) as found:
            reports = [found[kind].take_turn() for _ in range(NUM_TURNS)]
            start = found[kind].first["peak_bytes"]
    except SystemExit as error:
        if "out of memory" in str(error) or "does not fit" in str(error):
            return "does not fit"
        raise
    seconds = statistics.median(report["seconds"] for report in reports) / settings.turn
    return Timing(seconds, start / 2**30, max(report["peak_bytes"] for report in reports) / 2**30)


def matmul_flops(settings: Settings, side: int, repeat: int = 20) -> float:
    """Operations a second of a large square matrix product: what the card can do at best."""
    device = torch.device(settings.device)
    left, right = (torch.randn(side, side, device=device, dtype=getattr(torch, settings.dtype)) for _ in range(2))
    for _ in range(3):
        left @ right
    _synchronize(device)
    begun = time.perf_counter()
    for _ in range(repeat):
        left @ right
    _synchronize(device)
    return 2 * side**3 * repeat / (time.perf_counter() - begun)


def _cells(ours: Timing | str, reference: Timing | str, flops: int, ceiling: float) -> list[str]:
    both = (ours, reference)
    times, peaks = ([one if isinstance(one, str) else show(one) for one in both] for show in (_ms, lambda one: f"{one.peak_gib:.1f}"))
    ratio = f"{reference.step_seconds / ours.step_seconds:.2f}x" if isinstance(ours, Timing) and isinstance(reference, Timing) else ""
    rate = flops / ours.step_seconds if isinstance(ours, Timing) else None
    achieved = ["", ""] if rate is None else [f"{rate / 1e12:.4g}", f"{100 * rate / ceiling:.0f} %"]
    return [*times, ratio, *peaks, *achieved]


def _full_size(toy: Settings, folder: Path, temporary: Path) -> Settings:
    """SDXL at 1024 px in bfloat16."""
    from full_size import write_random_model

    if not (folder / "base" / "unet" / "diffusion_pytorch_model.safetensors").exists():
        write_random_model(folder)
        torch.cuda.empty_cache()
    session_path = make_session(temporary / "large", 8, 1024)
    spec = msgspec.structs.replace(toy.training, resolution=1024)
    return msgspec.structs.replace(
        toy, model=str(folder / "base"), session=str(session_path), training=spec, dtype="bfloat16", device="cuda"
    )


def _with(settings: Settings, turn: int, **options: Any) -> Settings:
    return msgspec.structs.replace(settings, turn=turn, training=msgspec.structs.replace(settings.training, **options))


def _unet_config(settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((Path(settings.model) / "unet" / "config.json").read_text())
    return config


def _device(settings: Settings) -> str:
    return torch.cuda.get_device_name() if settings.device == "cuda" else "CPU (a rehearsal: its figures mean nothing)"


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _ms(timing: Timing) -> str:
    return f"{1000 * timing.step_seconds:.0f}"


def _head(titles: list[str]) -> str:
    return f"{_row(titles)}\n|{'---|' * len(titles)}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
