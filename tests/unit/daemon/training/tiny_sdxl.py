"""SDXL's architecture at its smallest, with random weights, and an engine that lends it. Torch is imported when it is first built."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from daemon import toy
from daemon.engine.base import ModelIdentity
from daemon.protocol.events import DurableEvent, EphemeralEvent, Logged, StepProgress
from daemon.protocol.orders import Order
from daemon.protocol.specs import ModelSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.recipe import Interrupted, JobContext

Orders = Mapping[int, tuple[Order, ...]]
"""What a person orders, by the step after which it is given."""
RESOLUTION = 32
NUM_TOKENS = 12
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


def make_parts(prediction_type: str = "v_prediction", dtype: str = "float32") -> SimpleNamespace:
    """Tokenizers (the toy's), encoders, VAE, UNet and schedulers as an engine lends them; the same weights every time."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    tokenizers = {
        name: CLIPTokenizer.from_pretrained(toy.BASE_PATH / name, local_files_only=True, model_max_length=NUM_TOKENS)
        for name in ("tokenizer", "tokenizer_2")
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = CLIPTextConfig(
            vocab_size=len(tokenizers["tokenizer"]),
            hidden_size=16,
            intermediate_size=16,
            projection_dim=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=NUM_TOKENS,
            bos_token_id=tokenizers["tokenizer"].bos_token_id,
            eos_token_id=tokenizers["tokenizer"].eos_token_id,
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
        **tokenizers,
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        vae=vae,
        unet=unet,
        noise_scheduler=scheduler,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=True,
        dtype=torch_dtype,
        device=torch.device("cpu"),
        identity=msgspec.structs.replace(IDENTITY, torch_dtype=dtype),
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


def make_session(path: Path, num_images: int = 5, num_class_images: int = 0) -> Path:
    """A session folder with a few pictures of noise, one of them not square; class images, if any, in `classes/`."""
    for name, first, number in (("dataset", 0, num_images), ("classes", 100, num_class_images)):
        for index in range(first, first + number):
            pixels = np.random.default_rng(index).integers(0, 256, (RESOLUTION + 8 * (index == 1), RESOLUTION, 3), dtype=np.uint8)
            (path / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path / name / f"{index}.png")
    return path


def make_job(**changes: Any) -> TrainJob:
    return TrainJob(session="s", model=ModelSpec(base="toy"), training=msgspec.structs.replace(SPEC, **changes))


def make_context(session_path: Path, engine: TinyEngine, **options: Any) -> JobContext:
    return JobContext(job_id="j", session="s", session_path=session_path, engine=engine, **options)


def run(
    path: Path,
    engine: TinyEngine,
    stop_at: int | None = None,
    how: str = "pause",
    orders: Orders | None = None,
    stop_in: tuple[str, int] | None = None,
    **changes: Any,
) -> list[DurableEvent]:
    """All events until the end, or until asked to stop after the `stop_at`-th step, or at the n-th progress of the phase `stop_in`.

    `orders` are given once that many steps are taken.
    """
    steps, waiting, told = [0], dict(orders or {}), []

    def tell(event: EphemeralEvent) -> None:
        if isinstance(event, StepProgress):
            told.append(event.phase)
            if event.phase == "train":
                steps.append(event.step)

    def asked() -> str | None:
        is_there = stop_in is not None and told.count(stop_in[0]) >= stop_in[1]
        return how if is_there or (stop_at is not None and stop_at in steps) else None

    from daemon.training.recipe import train

    context = make_context(path, engine, tell=tell, asked=asked, orders=lambda: waiting.pop(steps[-1], ()))
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


def files_sha256(session_path: Path) -> str:
    """Of all that a training leaves behind that is the same however often it was interrupted."""
    found = [*session_path.glob("adapters/*/*"), *session_path.glob("metrics/*.jsonl"), *session_path.glob("samples/*/*/*.png")]
    hashes = {path.relative_to(session_path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()
