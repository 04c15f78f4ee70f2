"""Textual inversion from pictures to a comparison, with the real recipes on the toy: trained, stopped, gone on, used as a negative
embedding, and painted again by plain diffusers, pixel for pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from daemon.comparison.recipe import compare
from daemon.engine.models import LocalEngine, create_engine
from daemon.files import sha256_file
from daemon.protocol.events import AdapterSaved, DurableEvent, EphemeralEvent, ImageSaved, StepProgress
from daemon.protocol.specs import ArmSpec, CompareJob, ComparisonSpec, EmbeddingUse, ModelSpec, PromptSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.recipe import Interrupted, JobContext
from daemon.toy import BASE_PATH, REFINER_PATH
from daemon.training.recipe import train

MODEL = ModelSpec(base="toy", refiner="toy-refiner", device="cpu")
TRAINING = TrainingSpec(
    output_name="wrong-ti",
    method="textual_inversion",
    placeholder_token="<wrong>",
    initializer_token="ugly",
    num_vectors=2,
    resolution=64,
    learning_rate=5e-2,
    max_train_steps=4,
    gradient_accumulation_steps=1,
    checkpointing_steps=2,
    validation_steps=2,
)
COMPARISON = ComparisonSpec(
    arms=(
        ArmSpec(name="baseline"),
        ArmSpec(name="placebo", negative_prompt="ugly"),
        ArmSpec(name="learned", embeddings=(EmbeddingUse(name="wrong-ti"),), negative_prompt="<wrong>"),
        ArmSpec(name="weighted", embeddings=(EmbeddingUse(name="wrong-ti"),), negative_prompt="blurry, (<wrong>)++"),
    ),
    prompts=(PromptSpec(prompt="two small green squares on a white background", seed=3),),
    num_inference_steps=5,
    width=64,
    height=64,
    guidance_scale=3.0,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    made = create_engine(tmp_path_factory.mktemp("cache"))
    yield made
    made.close()


def make_session(path: Path) -> Path:
    """Three pictures of noise."""
    folder = path / "dataset"
    folder.mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (64, 64, 3), np.uint8)).save(folder / f"{index}.png")
    return path


def run(engine: LocalEngine, path: Path, stop_at: int | None = None, **settings: Any) -> list[DurableEvent]:
    """The training's events; asked to pause once step `stop_at` was taken."""
    steps: list[int] = []

    def tell(event: EphemeralEvent) -> None:
        if isinstance(event, StepProgress) and event.phase == "train":
            steps.append(event.step)

    how = lambda: "pause" if stop_at is not None and stop_at in steps else None  # noqa: E731
    context = JobContext(job_id="j", session="s", session_path=path, engine=engine, tell=tell, asked=how)
    events: list[DurableEvent] = []
    try:
        for event in train(TrainJob(session="s", model=MODEL, training=TRAINING), context):
            events.append(event)
    except Interrupted:
        assert stop_at is not None
    return events


def painted(engine: LocalEngine, path: Path) -> dict[str, ImageSaved]:
    context = JobContext(job_id="j", session="s", session_path=path, engine=engine)
    events = list(compare(CompareJob(session="s", model=MODEL, comparison=COMPARISON), context))
    return {str(event.image.arm): event for event in events if isinstance(event, ImageSaved)}


def by_plain_diffusers(embedding_path: Path, negative_prompt: str) -> Image.Image:
    """The learned arm's picture with nothing of ours."""
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    base = StableDiffusionXLPipeline.from_pretrained(BASE_PATH, torch_dtype=torch.float32, add_watermarker=False)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(REFINER_PATH, torch_dtype=torch.float32, add_watermarker=False)
    vectors = load_file(embedding_path)
    base.load_textual_inversion(vectors["clip_l"], token="<wrong>", text_encoder=base.text_encoder, tokenizer=base.tokenizer)
    for pipeline in (base, refiner):
        pipeline.set_progress_bar_config(disable=True)
        pipeline.load_textual_inversion(
            vectors["clip_g"], token="<wrong>", text_encoder=pipeline.text_encoder_2, tokenizer=pipeline.tokenizer_2
        )
    settings: dict[str, Any] = {
        "prompt": COMPARISON.prompts[0].prompt,
        "negative_prompt": negative_prompt,
        "num_inference_steps": COMPARISON.num_inference_steps,
        "guidance_scale": COMPARISON.guidance_scale,
        "generator": torch.Generator("cpu").manual_seed(3),
    }
    latents = base(**settings, width=64, height=64, denoising_end=0.8, output_type="latent").images
    image: Image.Image = refiner(**settings, image=latents, denoising_start=0.8).images[0]
    return image


def test_from_pictures_to_a_negative_embedding_in_an_arm(engine: LocalEngine, tmp_path: Path) -> None:
    before = engine.training_parts(MODEL)
    untouched = {name: weight.clone() for name, weight in before.text_encoder_2.state_dict().items()}
    session = make_session(tmp_path / "s")
    *_, saved = run(engine, session)
    assert isinstance(saved, AdapterSaved)
    assert saved.path == "adapters/wrong-ti/learned_embeds.safetensors"
    path = session / saved.path
    assert {name: tuple(vectors.shape) for name, vectors in load_file(path).items()} == {"clip_l": (2, 64), "clip_g": (2, 96)}
    begun = before.text_encoder_2.get_input_embeddings().weight[before.tokenizer_2("ugly", add_special_tokens=False).input_ids]
    assert ((load_file(path)["clip_g"] - begun).abs() > 1e-3).any(dim=1).all(), "every vector was trained"
    assert "<wrong>" in (path.parent / "README.md").read_text("utf-8")

    cells = painted(engine, session)
    sha256s = {name: event.image.sha256 for name, event in cells.items()}
    assert len(set(sha256s.values())) == 4
    request = cells["learned"].image.request
    assert [(one.sha256, one.placeholder_token) for one in request.embeddings or ()] == [(sha256_file(path), "<wrong>")]
    assert all(event.reused for event in painted(engine, session).values())
    with Image.open(session / cells["learned"].image.path) as ours:
        assert ours.tobytes() == by_plain_diffusers(path, "<wrong>").tobytes()
    after = engine.training_parts(MODEL)
    assert all((weight == untouched[name]).all() for name, weight in after.text_encoder_2.state_dict().items())
    assert len(after.tokenizer) == after.text_encoder.get_input_embeddings().num_embeddings
    assert before.tokenizer is after.tokenizer


def test_stopped_and_gone_on_it_ends_with_the_same_bytes(engine: LocalEngine, tmp_path: Path) -> None:
    whole, stopped = make_session(tmp_path / "whole"), make_session(tmp_path / "stopped")
    run(engine, whole)
    assert not any(isinstance(event, AdapterSaved) for event in run(engine, stopped, stop_at=3))
    *_, saved = run(engine, stopped)
    assert isinstance(saved, AdapterSaved)
    assert saved.sha256 == sha256_file(whole / saved.path)
    *_, again = run(engine, stopped)
    assert isinstance(again, AdapterSaved)
    assert again.reused
