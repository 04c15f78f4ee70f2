"""Whether a session can run here: its model, its files, room on the disk and on the GPU. Faults stop it, doubts are warnings."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from daemon import models
from daemon.models.scorer_files import check_scorers
from daemon.prompts.lines import read_prompts_file
from daemon.protocol.commands import SessionAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ComparisonSpec, ModelSpec, PromptSpec, SessionSpec, arms_of
from daemon.protocol.training_rules import PACKAGES, doubts, require_sound
from daemon.protocol.training_spec import TrainingSpec
from daemon.sessions.reading import read

_PNG_BYTES_PER_PIXEL = 2
"""A PNG of a photo-like RGB picture with its thumbnails: measured about 1.6."""
_CACHE_BYTES_PER_PIXEL = 8 * 4 / 64
"""Mean and std of 4 latent channels in float32, one latent per 8 x 8 pixels."""
_LORA_BYTES_PER_RANK = 5_806_080 // 4 * 4
"""SDXL's UNet, attention only, float32 (23.2 MB at rank 4)."""
_SDXL_BYTES = 5_000_000_000


def check(sessions_path: Path, name: str) -> SessionAnswer:
    """Read `name` and check that it can run here. Raises `NegError`: `not_found`, `invalid`, `incompatible`, `disk_full`."""
    spec = read(sessions_path, name)
    folder = sessions_path / name
    return SessionAnswer(name=name, path=str(folder), spec=spec, warnings=tuple(warnings(spec, folder)))


def warnings(spec: SessionSpec, folder: Path) -> list[str]:
    """Check the model and the room for what will be written; returns what is doubtful. Raises `NegError` for what cannot work."""
    if spec.training is not None:
        require_sound(spec.training)
        models.require_gpus(spec.model, spec.training.num_processes)
    found = models.check(spec.model)
    _require_optimizer(spec)
    if spec.comparison is not None:
        check_scorers(spec.comparison, folder)
    _require_room(spec, folder)
    return [*found, *_training(spec), *_gpu_room(spec), *_adapters(spec, folder), *_prompts(spec, folder)]


def needed_bytes(spec: SessionSpec, folder: Path) -> int:
    """Bytes that a whole run of `spec` in `folder` will write, about: pictures, caches, adapter and checkpoints."""
    needed = 0.0
    num_images = 0
    if spec.synthesis is not None:
        act = spec.synthesis
        num_images = len(act.keywords) * len(act.weights) * len(act.guidance_scales) * len(act.seeds)
        needed += num_images * act.width * act.height * _PNG_BYTES_PER_PIXEL
    if spec.training is not None:
        needed += _training_bytes(spec.training, spec.model, num_images)
    if spec.comparison is not None:
        act3 = spec.comparison
        num_blocks = (act3.num_prompts or len(_all_prompts(act3, folder))) * len(act3.seeds)
        needed += num_blocks * len(arms_of(spec)) * act3.width * act3.height * _PNG_BYTES_PER_PIXEL
    return int(needed)


def _training_bytes(act: TrainingSpec, model: ModelSpec, num_images: int) -> float:
    """Class images, posteriors of all pictures (twice where they are flipped), and what is learned."""
    pixels = act.resolution**2
    num_class = act.num_class_images if act.with_prior_preservation else 0
    cached = (max(num_images, 1) + num_class) * pixels * _CACHE_BYTES_PER_PIXEL * (2 if act.random_flip else 1)
    painted = num_class * pixels * _PNG_BYTES_PER_PIXEL if act.class_data_dir is None else 0
    if act.method == "textual_inversion":
        return cached + painted
    share = min(1.0, models.estimated_bytes(model, 64, 64) / _SDXL_BYTES)
    # The adapter, and two checkpoints and the best one, of weights and two moments each.
    return cached + painted + 10 * act.rank * _LORA_BYTES_PER_RANK * share


def _require_room(spec: SessionSpec, folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free, needed = shutil.disk_usage(existing).free, needed_bytes(spec, folder)
    if free < needed:
        message = f"The session will write about {needed / 2**20:.0f} MiB; {existing} has {free / 2**20:.0f} MiB free."
        raise NegError("disk_full", message, "Free some room, or make fewer or smaller pictures.")


def _require_optimizer(spec: SessionSpec) -> None:
    """The optimizer's package must be installed, and its device there."""
    optimizer = spec.training.optimizer if spec.training is not None else "adamw"
    if optimizer == "adamw8bit" and models.chosen_device(spec.model) != "cuda":
        raise NegError("invalid", "training.optimizer adamw8bit needs an NVIDIA GPU.", "Set it to adamw, or to adafactor to save memory.")
    package = PACKAGES.get(optimizer)
    if package is not None and importlib.util.find_spec(package) is None:
        message = f"training.optimizer {optimizer} needs the package {package}, which is not installed here."
        raise NegError("invalid", message, f"Install it: pip install {package}, or set optimizer to adamw.")


def _training(spec: SessionSpec) -> list[str]:
    return doubts(spec.training) if spec.training is not None else []


def _gpu_room(spec: SessionSpec) -> list[str]:
    """A warning where the model does not fit the largest GPU, or where SDXL would run on a CPU."""
    acts = [act for act in (spec.synthesis, spec.comparison) if act is not None]
    needed = max((models.estimated_bytes(spec.model, act.width, act.height) for act in acts), default=0)
    if models.chosen_device(spec.model) == "cuda":
        memory = _gpu_bytes()
        if memory < needed:
            return [f"Painting needs about {needed / 2**30:.1f} GiB on the GPU, which has {memory / 2**30:.1f} GiB."]
    elif needed > _SDXL_BYTES:
        return ["Without a GPU a model of this size takes minutes per picture."]
    return []


def _gpu_bytes() -> int:
    """Memory of the largest NVIDIA GPU."""
    import pynvml

    pynvml.nvmlInit()
    devices = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    return max(int(pynvml.nvmlDeviceGetMemoryInfo(device).total) for device in devices)


def _adapters(spec: SessionSpec, folder: Path) -> list[str]:
    """Arms may use the adapter or embedding that act 2 makes, or one that is already there."""
    made = {spec.training.output_name} if spec.training else set()
    made |= {merging.output_name for merging in spec.merging}
    arms = (*arms_of(spec), *([spec.sweep.arm] if spec.sweep is not None else ()))
    wanted = {(use.name, "adapter") for arm in arms for use in arm.adapters}
    wanted |= {(use.name, "embedding") for arm in arms for use in arm.embeddings}
    missing = [(name, what) for name, what in sorted(wanted) if name not in made and not (folder / "adapters" / name).is_dir()]
    return [f"An arm uses the {what} {name!r}, which is neither trained by this session nor in its adapters/." for name, what in missing]


def _prompts(spec: SessionSpec, folder: Path) -> list[str]:
    if spec.comparison is None:
        return []
    prompts = _all_prompts(spec.comparison, folder)
    found = []
    if not prompts:
        found.append("The comparison's prompts_file holds no prompts.")
    elif spec.comparison.num_prompts > len(prompts):
        found.append(f"comparison.num_prompts is {spec.comparison.num_prompts}, but there are {len(prompts)} prompts.")
    return found


def _all_prompts(comparison: ComparisonSpec, folder: Path) -> tuple[PromptSpec, ...]:
    more = read_prompts_file(folder, comparison.prompts_file) if comparison.prompts_file else ()
    return (*comparison.prompts, *more)
