"""Class images for prior preservation, painted by the base itself where they are missing: what the model makes of `class_prompt` today.

Seeded, recorded in `class_images/manifest.jsonl`, and resumable picture by picture. Torch-free; knows nothing of how they are trained on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from daemon.engine.base import ModelIdentity
from daemon.files import sweep_temporary
from daemon.manifest import MANIFEST_FILE, Manifest
from daemon.pictures import PaintPace, image_id, make_request, paint_or_reuse
from daemon.protocol.events import DurableEvent
from daemon.protocol.specs import ImageRecord, ImageRequest, SamplingSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.recipe import JobContext
from daemon.training.data.draws import draw_seed
from daemon.training.data.folders import KnownSizes, read_folder

CLASS_IMAGES_FOLDER = "class_images"
NUM_INFERENCE_STEPS = 50
GUIDANCE_SCALE = 5.0
"""Both as `train_dreambooth_lora_sdxl.py` paints them: the defaults of diffusers' pipeline."""


def paint_class_images(job: TrainJob, context: JobContext) -> Iterator[DurableEvent]:
    """Paint what the session's `class_images/` lacks of `num_class_images`: an `ImageSaved` per picture, also of those that are there.

    Images that a person put there count, and rejected ones are replaced by others. Nothing happens without prior preservation, or where
    `class_data_dir` names a folder: that one is taken as it is. Raises `Interrupted` at a step boundary, and what `paint_or_reuse` raises.
    """
    if not job.training.with_prior_preservation or job.training.class_data_dir is not None:
        return
    folder = context.session_path / CLASS_IMAGES_FOLDER
    sweep_temporary(folder)
    manifest = Manifest(folder / MANIFEST_FILE)
    requests = _planned(job.training, context.engine.identify(job.model), manifest, _num_own(context, folder))
    pace = PaintPace(context, "class images", len(requests))
    for index, request in enumerate(requests):
        context.check()
        known = manifest.find(image_id(request))
        with context.phase("class images"):
            picture = paint_or_reuse(pace, job.model, request, folder, index=index, known_sha256=known.sha256 if known else None)
            path = f"{CLASS_IMAGES_FOLDER}/{picture.path.name}"
            record = manifest.keep(ImageRecord(id=picture.id, path=path, sha256=picture.sha256, request=request))
        yield pace.saved(record, index, reused=picture.reused)


def class_request(spec: TrainingSpec, identity: ModelIdentity, seed: int) -> ImageRequest:
    """A square picture of `class_prompt` by the base alone, without a negative prompt."""
    sampling = SamplingSpec(num_inference_steps=NUM_INFERENCE_STEPS, width=spec.resolution, height=spec.resolution, denoising_split=None)
    return make_request(identity, sampling, prompt=spec.class_prompt, negative_prompt=None, seed=seed, guidance_scale=GUIDANCE_SCALE)


def class_seed(index: int) -> int:
    """Seed of the `index`-th class image: not of the training's seed, so that trainings of several seeds share their class images."""
    return draw_seed(0, "class_image", index)


def is_class_image(record: ImageRecord | None, spec: TrainingSpec, identity: ModelIdentity | None) -> bool:
    """Whether a picture of `class_images/` belongs to this training: a person's own, or painted from this prompt by this very model."""
    if record is None:
        return True
    if identity is None:
        return record.request.prompt == spec.class_prompt
    return record.request == class_request(spec, identity, record.request.seed)


def _planned(spec: TrainingSpec, identity: ModelIdentity, manifest: Manifest, num_own: int) -> tuple[ImageRequest, ...]:
    """The first so many requests whose pictures nobody rejected."""

    def is_rejected(request: ImageRequest) -> bool:
        record = manifest.find(image_id(request))
        return record is not None and record.status == "reject"

    requests = (class_request(spec, identity, class_seed(index)) for index in itertools.count())
    accepted = (request for request in requests if not is_rejected(request))
    return tuple(itertools.islice(accepted, max(0, spec.num_class_images - num_own)))


def _num_own(context: JobContext, folder: Path) -> int:
    """Usable images that no manifest line speaks of."""
    known = KnownSizes(context.session_path / "cache" / "images.json")
    try:
        return len(read_folder(folder, known, wanted=lambda record: record is None, check=context.check).images)
    finally:
        known.save()
