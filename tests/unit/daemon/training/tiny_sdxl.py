"""SDXL's architecture at its smallest, with random weights, and an engine that lends it. Torch is imported when it is first built."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from daemon.engine.base import ModelIdentity
from daemon.protocol.events import DurableEvent, EphemeralEvent, Logged, StepProgress
from daemon.protocol.specs import ModelSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.recipe import Interrupted, JobContext

RESOLUTION = 32
IDENTITY = ModelIdentity(base_sha256="b" * 64, torch_dtype="float32")
SPEC = TrainingSpec(
    resolution=RESOLUTION,
    max_train_steps=14,
    train_batch_size=2,
    gradient_accumulation_steps=1,
    checkpointing_steps=4,
    learning_rate=1e-2,
    lr_scheduler="cosine",
    lr_warmup_steps=2,
    seed=7,
)


class TinyTokenizer:
    """Letters as ids, CLIP's call signature."""

    model_max_length = 12
    added_tokens_encoder: ClassVar[dict[str, int]] = {}

    def tokenize(self, prompt: str) -> list[str]:
        return list(prompt)

    def __call__(self, prompt: str | list[str], **options: Any) -> SimpleNamespace:
        text = prompt if isinstance(prompt, str) else prompt[0]
        ids = [1, *(3 + ord(letter) % 60 for letter in text), 2]
        if options.get("truncation") and len(ids) > self.model_max_length:
            ids = [*ids[: self.model_max_length - 1], 2]
        if options.get("padding") == "max_length":
            ids += [0] * (self.model_max_length - len(ids))
        if options.get("return_tensors") != "pt":
            return SimpleNamespace(input_ids=ids)
        import torch

        return SimpleNamespace(input_ids=torch.tensor([ids]))


def make_parts(prediction_type: str = "v_prediction", dtype: str = "float32") -> SimpleNamespace:
    """Tokenizers, encoders, VAE, UNet and scheduler as an engine lends them; the same weights every time."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = CLIPTextConfig(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=16,
            projection_dim=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=12,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
        text_encoder, text_encoder_2 = CLIPTextModel(config).eval(), CLIPTextModelWithProjection(config).eval()
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(4, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=2,
            sample_size=RESOLUTION,
            scaling_factor=0.5,
        ).eval()
        unet = UNet2DConditionModel(
            sample_size=RESOLUTION // 2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            mid_block_type=None,
            block_out_channels=(8, 16),
            layers_per_block=1,
            transformer_layers_per_block=1,
            attention_head_dim=2,
            cross_attention_dim=32,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16,
            norm_num_groups=4,
        ).eval()
    torch_dtype = getattr(torch, dtype)
    for part in (text_encoder, text_encoder_2, vae, unet):
        part.requires_grad_(False)
        torch.nn.Module.to(part, torch_dtype)
    scheduler = EulerDiscreteScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", prediction_type=prediction_type)
    return SimpleNamespace(
        tokenizer=TinyTokenizer(),
        tokenizer_2=TinyTokenizer(),
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        vae=vae,
        unet=unet,
        noise_scheduler=scheduler,
        dtype=torch_dtype,
        device=torch.device("cpu"),
    )


def stock_pipeline(parts: Any) -> Any:
    """A plain `StableDiffusionXLPipeline` around the parts."""
    from diffusers import StableDiffusionXLPipeline

    return StableDiffusionXLPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        text_encoder_2=parts.text_encoder_2,
        tokenizer=parts.tokenizer,
        tokenizer_2=parts.tokenizer_2,
        unet=parts.unet,
        scheduler=parts.noise_scheduler,
    )


class TinyEngine:
    """Identifies every model as the tiny one and lends it. Counts how often."""

    def __init__(self, parts: Any = None, identity: ModelIdentity = IDENTITY) -> None:
        self.parts, self.identity = parts, identity
        self.num_borrowed = 0

    def identify(self, model: ModelSpec) -> ModelIdentity:
        return self.identity

    @contextlib.contextmanager
    def borrow_training_parts(self, model: ModelSpec) -> Iterator[Any]:
        self.num_borrowed += 1
        if self.parts is None:
            self.parts = make_parts()
        yield self.parts


def make_session(path: Path, num_images: int = 5) -> Path:
    """A session folder with a few pictures of noise, one of them not square."""
    folder = path / "dataset"
    folder.mkdir(parents=True)
    for index in range(num_images):
        pixels = np.random.default_rng(index).integers(0, 256, (RESOLUTION + 8 * (index == 1), RESOLUTION, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return path


def make_job(**changes: Any) -> TrainJob:
    import msgspec

    return TrainJob(session="s", model=ModelSpec(base="toy"), training=msgspec.structs.replace(SPEC, **changes))


def make_context(session_path: Path, engine: TinyEngine, **options: Any) -> JobContext:
    return JobContext(job_id="j", session="s", session_path=session_path, engine=engine, **options)


def run(path: Path, engine: TinyEngine, stop_at: int | None = None, how: str = "pause", **changes: Any) -> list[DurableEvent]:
    """All events until the end, or until asked to stop after the `stop_at`-th training step."""
    steps: list[int] = []

    def tell(event: EphemeralEvent) -> None:
        if isinstance(event, StepProgress) and event.phase == "train":
            steps.append(event.step)

    from daemon.training.recipe import train

    context = make_context(path, engine, tell=tell, asked=lambda: how if stop_at is not None and stop_at in steps else None)
    events: list[DurableEvent] = []
    try:
        for event in train(make_job(**changes), context):
            events.append(event)
    except Interrupted as interrupted:
        events.append(Logged(job_id="j", level="info", message=interrupted.how))
    return events


def adapter_sha256(session_path: Path, name: str = "wrong") -> str:
    content = (session_path / "adapters" / name / "pytorch_lora_weights.safetensors").read_bytes()
    return hashlib.sha256(content).hexdigest()


def metrics_sha256(session_path: Path) -> str:
    (path,) = (session_path / "metrics").iterdir()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_in_child(session_path: Path, parts: Any, job: TrainJob, on_tell: Callable[[int], None]) -> None:
    """The body of a forked child: train to the end; `on_tell(n)` is called with every piece of progress."""
    from daemon.training.recipe import train

    count = iter(range(1, 10**9))
    context = make_context(session_path, TinyEngine(parts), tell=lambda event: on_tell(next(count)))
    for _ in train(job, context):
        pass


def _write_dot(descriptor: int, number: int) -> None:
    os.write(descriptor, b".")


def kill_until_done(session_path: Path, parts: Any, job: TrainJob, draw: random.Random, max_kills: int) -> int:
    """Start the training again and again, SIGKILL it at a random moment up to `max_kills` times; returns how many hit it alive."""
    num_kills = 0
    while True:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                run_in_child(session_path, parts, job, functools.partial(_write_dot, writing))
                code = 0
            except Exception:
                traceback.print_exc()
            os._exit(code)
        os.close(writing)
        if num_kills < max_kills:
            for _ in range(draw.randrange(1, 12)):
                if not os.read(reading, 1):
                    break
            time.sleep(draw.uniform(0, 0.03))
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        os.close(reading)
        if not os.WIFSIGNALED(status):
            if os.WEXITSTATUS(status):
                raise SystemExit("the training failed")
            if num_kills >= max_kills or (session_path / "adapters").is_dir():
                return num_kills
        num_kills += os.WIFSIGNALED(status)


def main() -> None:
    """`tiny_sdxl.py FOLDER SEED NUM_KILLS`: sessions trained under kills until so many hit; prints two hashes a session."""
    import torch

    torch.set_num_threads(1)
    import daemon.training.loop  # noqa: F401

    folder, seed, num_kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    parts, draw, job = make_parts(), random.Random(seed), make_job()
    done = 0
    for number in range(10**6):
        session_path = make_session(folder / str(number))
        done += kill_until_done(session_path, parts, job, draw, min(8, num_kills - done))
        print(adapter_sha256(session_path), metrics_sha256(session_path), flush=True)
        if done >= num_kills:
            return


if __name__ == "__main__":
    main()
