"""One training of a benchmark, in a process of its own: ours, the reference script's, or the bare modules'. Started by `trainer_speed.py`.

    python tests/bench/trainer_runs.py KIND SETTINGS.json

Trains in turns: after every `turn` steps it writes a line of JSON (seconds, losses) and waits for a line before it goes on, so that several
trainings take turns on one machine. Knows nothing of what is compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from daemon.engine.models import create_engine
from daemon.protocol.specs import ModelSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.recipe import JobContext
from daemon.training.data.draws import draw_seed, image_order

MAX_STEPS = 1_000_000
"""A training is ended from outside, by closing its standard input."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The same for every kind of run."""

    model: str
    """A diffusers folder."""
    session: str
    """A session folder; its `dataset/` holds the pictures."""
    training: TrainingSpec
    turn: int
    """Steps between two reports."""
    dtype: str = "float32"
    device: str = "cpu"
    memory_gib: float = 0.0
    """What torch may take of the GPU's memory, as if it had no more; 0: all."""
    reference: str = ""
    python_path: str = ""
    equal_draws: bool = False
    """The reference's random draws are replaced by ours, from outside."""


class Turns:
    """Counts steps, reports a turn and waits for the next. Everything else that prints goes to standard error."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reports: IO[str] = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.num_steps = 0
        self._losses: list[float] = []
        self._begun = (time.perf_counter(), time.process_time())

    def after_step(self, loss: float) -> None:
        """Called at the end of every optimizer step; ends the process where nobody waits for more."""
        self.num_steps += 1
        self._losses.append(loss)
        if self.num_steps % self._settings.turn:
            return
        if self._settings.device == "cuda":
            torch.cuda.synchronize()
        report = {
            "seconds": time.perf_counter() - self._begun[0],
            "cpu_seconds": time.process_time() - self._begun[1],
            "losses": self._losses,
            "peak_bytes": torch.cuda.max_memory_allocated() if self._settings.device == "cuda" else 0,
        }
        self._reports.write(json.dumps(report) + "\n")
        self._reports.flush()
        self._losses = []
        if not sys.stdin.readline():
            os._exit(0)
        if self._settings.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._begun = (time.perf_counter(), time.process_time())


def run_ours(settings: Settings, turns: Turns) -> None:
    """The product's own path, from the recipe down; only told of every step's end."""
    from daemon.training.recipe import train
    from daemon.training.trainer import Trainer

    take_step = Trainer.take_step

    def counted(self: Trainer, *args: Any, **options: Any) -> Any:
        point = take_step(self, *args, **options)
        turns.after_step(point.loss)
        return point

    Trainer.take_step = counted  # type: ignore[method-assign]
    session_path = Path(settings.session)
    context = JobContext(job_id="bench", session="bench", session_path=session_path, engine=create_engine(session_path / "cache"))
    job = TrainJob(session="bench", model=_model(settings), training=settings.training)
    for _ in train(job, context):
        pass


def run_bare(settings: Settings, turns: Turns) -> None:
    """Nothing but forward, backward and the optimizer's step of the same modules, on inputs that never change."""
    from peft import LoraConfig

    spec, device, dtype = settings.training, torch.device(settings.device), getattr(torch, settings.dtype)
    with create_engine(Path(settings.session) / "cache").borrow_training_parts(_model(settings)) as parts:
        unet = parts.unet
        unet.requires_grad_(False)
        targets = ["to_k", "to_q", "to_v", "to_out.0"]
        unet.add_adapter(LoraConfig(r=spec.rank, lora_alpha=spec.rank, init_lora_weights="gaussian", target_modules=targets))
        trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.data = parameter.data.float()
        unet.train()
        optimizer = torch.optim.AdamW(trained, lr=spec.learning_rate, weight_decay=spec.adam_weight_decay, fused=True)
        side, batch = spec.resolution // 2 ** (len(parts.vae.config.block_out_channels) - 1), spec.train_batch_size
        latents, target = (torch.randn(batch, 4, side, side, device=device) for _ in range(2))
        words = torch.randn(batch, 77, unet.config.cross_attention_dim, device=device)
        sizes = torch.tensor([[spec.resolution, spec.resolution, 0, 0, spec.resolution, spec.resolution]] * batch, device=device).float()
        conditions = {"text_embeds": torch.randn(batch, parts.text_encoder_2.config.projection_dim, device=device), "time_ids": sizes}
        timesteps = torch.full((batch,), 500, device=device)
        while True:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(settings.device, dtype, enabled=dtype != torch.float32):
                predicted = unet(latents, timesteps, words, added_cond_kwargs=conditions, return_dict=False)[0]
                loss = torch.nn.functional.mse_loss(predicted.float(), target)
            loss.backward()
            optimizer.step()
            turns.after_step(float(loss))


def run_reference(settings: Settings, turns: Turns) -> None:
    """The script as it is, its loss and its steps' ends read off its own progress bar."""
    # Imported before the stand-in for torchvision can be found: transformers would take it for the whole of it.
    import diffusers
    import peft
    import tqdm.auto
    import transformers.utils.import_utils

    assert diffusers.__version__
    assert peft.__version__
    assert not transformers.utils.import_utils.is_torchvision_available()
    if settings.python_path:
        sys.path.append(settings.python_path)

    class Bar(tqdm.auto.tqdm):  # type: ignore[misc]
        def set_postfix(self, *args: Any, loss: float, **values: Any) -> None:
            super().set_postfix(*args, loss=loss, **values)
            turns.after_step(loss)

    if settings.equal_draws:
        give_our_draws(settings, turns)
    tqdm.auto.tqdm = Bar
    sys.argv = [settings.reference, *reference_options(settings)]
    runpy.run_path(settings.reference, run_name="__main__")


def reference_options(settings: Settings) -> list[str]:
    """The script's options for our spec."""
    spec, session_path = settings.training, Path(settings.session)
    values: dict[str, object] = {
        "pretrained_model_name_or_path": settings.model,
        "instance_data_dir": session_path / "dataset",
        "output_dir": session_path / "reference",
        "mixed_precision": {"float32": "no", "float16": "fp16", "bfloat16": "bf16"}[settings.dtype],
        "checkpointing_steps": MAX_STEPS,
        # Not installed, and then left out: otherwise it writes a TensorBoard file at every step, which we do not by default.
        "report_to": "comet_ml",
        "max_train_steps": MAX_STEPS,
    }
    names = ("instance_prompt", "resolution", "seed", "rank", "learning_rate", "lr_scheduler", "lr_warmup_steps", "train_batch_size")
    names += ("gradient_accumulation_steps", "adam_weight_decay", "adam_epsilon", "max_grad_norm", "snr_gamma")
    values |= {name: value for name in names if (value := getattr(spec, name)) is not None}
    options = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    if spec.with_prior_preservation:
        folder = session_path / str(spec.class_data_dir)
        options += ["--with_prior_preservation", "--class_prompt", spec.class_prompt, "--class_data_dir", str(folder)]
        options += ["--num_class_images", str(spec.num_class_images), "--prior_loss_weight", str(spec.prior_loss_weight)]
    options += ["--gradient_checkpointing"] if spec.gradient_checkpointing else []
    return [*options, "--center_crop"]


def give_our_draws(settings: Settings, turns: Turns) -> None:
    """Replace what the script draws by what our trainer draws: the pictures' order, the adapter's start, latents, noise, timesteps."""
    from diffusers import UNet2DConditionModel
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
    from torch.utils.data import RandomSampler

    spec, add_adapter = settings.training, UNet2DConditionModel.add_adapter
    is_training = False

    def generator(purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(draw_seed(spec.seed, purpose, turns.num_steps + 1, 0))

    def sample(self: Any, *_: Any) -> torch.Tensor:
        nonlocal is_training
        is_training = True
        return self.mean + self.std * torch.randn(self.mean.shape, generator=generator("posterior"))

    def with_our_start(self: Any, *args: Any, **options: Any) -> None:
        add_adapter(self, *args, **options)
        for name, parameter in self.named_parameters():
            if ".lora_A." in name:
                place = torch.Generator().manual_seed(draw_seed(spec.seed, "lora", name.replace(".default.", ".")))
                parameter.data.copy_(torch.randn(parameter.shape, generator=place) / spec.rank)

    def timesteps(low: int, high: int, size: Any, **options: Any) -> torch.Tensor:
        return randint(low, high, size, generator=generator("timesteps")) if is_training else randint(low, high, size, **options)

    randint = torch.randint
    DiagonalGaussianDistribution.sample = sample
    UNet2DConditionModel.add_adapter = with_our_start
    RandomSampler.__iter__ = _order(settings)  # type: ignore[method-assign]
    torch.randn_like = lambda like: torch.randn(like.shape, generator=generator("noise"))
    torch.randint = timesteps


def _order(settings: Settings) -> Callable[[Any], Iterator[int]]:
    """Our order of the pictures as indices of the script's, which takes them as the folder lists them."""
    listed = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (Path(settings.session) / "dataset").iterdir()]
    ours = [listed.index(sha256) for sha256 in sorted(listed)]
    epochs = iter(range(MAX_STEPS))
    return lambda sampler: (ours[index] for index in image_order(len(ours), settings.training.seed, next(epochs)))


def _model(settings: Settings) -> ModelSpec:
    return ModelSpec(base=settings.model, torch_dtype=settings.dtype, device=settings.device)  # type: ignore[arg-type]


def main() -> None:
    kind, path = sys.argv[1:]
    settings = msgspec.json.decode(Path(path).read_bytes(), type=Settings)
    if settings.memory_gib:
        torch.cuda.set_per_process_memory_fraction(min(1.0, settings.memory_gib * 2**30 / torch.cuda.mem_get_info()[1]))
    {"ours": run_ours, "bare": run_bare, "reference": run_reference}[kind](settings, Turns(settings))


if __name__ == "__main__":
    main()
