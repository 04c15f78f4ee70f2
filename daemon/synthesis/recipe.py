"""Act 1: paint the planned bad pictures into `dataset/`, each with a line in the manifest and what scorers read in it. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.manifest import MANIFEST_FILE, Manifest
from daemon.measuring.measures import find_scorers, reader
from daemon.measuring.metrics import Values
from daemon.pictures import PaintPace, Picture, image_id, paint_or_reuse
from daemon.protocol.events import DurableEvent, Logged
from daemon.protocol.specs import ImageRecord, SynthesizeJob
from daemon.recipe import JobContext
from daemon.synthesis.plan import PlannedImage, plan

DATASET_FOLDER = "dataset"


def synthesize(job: SynthesizeJob, context: JobContext) -> Iterator[DurableEvent]:
    """Yield an `ImageSaved` per planned picture. Pictures of other plans stay, and so do the marks a person set."""
    with context.phase("identify"):
        planned = plan(job.synthesis, context.engine.identify(job.model))
    folder = context.session_path / DATASET_FOLDER
    manifest = Manifest(folder / MANIFEST_FILE)
    read = reader(find_scorers(job, context.session_path))
    pace = PaintPace(context, "synthesise", len(planned))
    told: set[str] = set()
    for index, image in enumerate(planned):
        context.check()
        with context.phase("paint"):
            known = manifest.find(image_id(image.request))
            picture = paint_or_reuse(
                pace, job.model, image.request, folder, index=index, label=_label(image), known_sha256=known.sha256 if known else None
            )
            # What was read of this very picture stays.
            values = known.values if known is not None and known.sha256 == picture.sha256 else {}
            record = manifest.keep(_record(image, picture, values or read(picture.path, image.request.prompt)))
        told.add(record.id)
        yield pace.saved(record, index, reused=picture.reused)
    num_others = sum(record.id not in told and (folder / f"{record.id}.png").exists() for record in manifest.records())
    if num_others:
        message = (
            f"dataset/ also holds {num_others} pictures of other settings; training uses those too, unless they are rejected or removed."
        )
        yield Logged(job_id=context.job_id, level="warning", message=message)


def _record(image: PlannedImage, picture: Picture, values: Values) -> ImageRecord:
    return ImageRecord(
        id=picture.id,
        path=f"{DATASET_FOLDER}/{picture.path.name}",
        sha256=picture.sha256,
        request=image.request,
        keyword=image.keyword,
        weight=image.weight,
        values=values,
    )


def _label(image: PlannedImage) -> str:
    return f"{image.keyword} {image.weight} at guidance {image.guidance_scale:g}"
