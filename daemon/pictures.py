"""Pictures on disk: `<id>.png` with its settings inside, thumbnails beside it, painted only where they are missing. Torch-free.

`id` is the hash of the whole request. A PNG is written last, atomically: where it stands, the picture is finished.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from daemon import files
from daemon.engine.base import ModelIdentity, OnBlockStep, OnStep
from daemon.picture_text import picture_text
from daemon.protocol.arms import RefinerUse
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.events import ImageSaved, Preview, StepProgress
from daemon.protocol.specs import AdapterRequest, EmbeddingRequest, ImageRecord, ImageRequest, ModelSpec, SamplingSpec
from daemon.recipe import JobContext

THUMBNAIL_PIXELS = (64, 256, 512)
THUMBNAILS_FOLDER = ".thumbnails"
MAX_EXACT_PIXELS = 128
"""Of pictures so small, a lossy copy would show flaws of its own."""
PREVIEW_SECONDS = 0.25
"""Shortest time between two previews: each one costs the painting a few milliseconds."""

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True)
class Picture:
    """A finished picture: `path` is its PNG, `sha256` that file's, `reused` says that nothing was painted."""

    id: str
    path: Path
    sha256: str
    reused: bool


@dataclass
class PaintPace:
    """Where a recipe is among its pictures, and how fast it paints: tells a `StepProgress` at every step."""

    context: JobContext
    phase: str
    num_images: int
    num_steps_timed: int = 0
    first_step_time: float | None = None

    def on_step(self, image_id: str, index: int, label: str) -> OnStep:
        """The engine's callback for picture `index` (from 0): stops it when asked, tells progress and wanted previews."""
        told = self.on_block_step((image_id,), (index,), (label,))
        return lambda *progress: told((0,), *progress)

    def on_block_step(self, image_ids: Sequence[str], indexes: Sequence[int], labels: Sequence[str]) -> OnBlockStep:
        """As `on_step`, for pictures of which several may be painted together. Progress names the first of those, previews the last."""
        last_preview = time.monotonic() - PREVIEW_SECONDS

        def stepped(numbers: Sequence[int], step: int, num_steps: int, make_preview: Callable[[], bytes]) -> None:
            nonlocal last_preview
            self.context.check()
            self._count_steps(len(numbers))
            self.tell(step, num_steps, indexes[numbers[0]], labels[numbers[0]], len(numbers))
            now = time.monotonic()
            if step < num_steps and self.context.previews_wanted() and now - last_preview >= PREVIEW_SECONDS:
                last_preview = now
                image_id = image_ids[numbers[-1]]
                preview = Preview(job_id=self.context.job_id, image_id=image_id, step=step, num_steps=num_steps, jpeg=make_preview())
                self.context.tell(preview)

        return stepped

    def tell(self, step: int, num_steps: int, index: int, label: str, num_together: int = 1) -> None:
        """Tell that picture `index` (and those after it, of so many together) is at `step`, with the pace so far, counted in steps of
        single pictures, and the seconds that all pictures still need at it."""
        pace = self._pace()
        left = num_together * (num_steps - step) + max(0, self.num_images - index - num_together) * num_steps
        progress = StepProgress(
            job_id=self.context.job_id,
            phase=self.phase,
            step=step,
            num_steps=num_steps,
            label=label,
            image_index=index,
            num_images=self.num_images,
            steps_per_second=pace,
            eta_seconds=left / pace if pace else None,
        )
        self.context.tell(progress)

    def saved(self, image: ImageRecord, index: int, *, reused: bool) -> ImageSaved:
        """The event that tells of the finished picture `index`."""
        context = self.context
        return ImageSaved(
            job_id=context.job_id, session=context.session, image=image, index=index, num_images=self.num_images, reused=reused
        )

    def _count_steps(self, number: int) -> None:
        # Timed from the end of the very first step: what comes before it is loading the models.
        if self.first_step_time is None:
            self.first_step_time = time.monotonic()
        else:
            self.num_steps_timed += number

    def _pace(self) -> float | None:
        if self.first_step_time is None or self.num_steps_timed == 0:
            return None
        return self.num_steps_timed / max(time.monotonic() - self.first_step_time, 1e-9)


def image_id(request: ImageRequest) -> str:
    """32 hex digits: the hash of everything that decides the pixels."""
    return canonical_sha256(request)[:32]


def make_request(
    identity: ModelIdentity,
    sampling: SamplingSpec,
    *,
    prompt: str,
    negative_prompt: str | None,
    seed: int,
    guidance_scale: float,
    adapters: tuple[AdapterRequest, ...] = (),
    embeddings: tuple[EmbeddingRequest, ...] = (),
    guidance_start: float = 0.0,
    guidance_end: float = 1.0,
    refiner: RefinerUse = "arm",
) -> ImageRequest:
    """The request of one picture, in one form: refiner and split are both there or neither, and what is as usual is left out,
    so that equal pixels have equal ids."""
    refined = identity.refiner_sha256 is not None and sampling.denoising_split is not None and refiner != "none"
    return ImageRequest(
        base_sha256=identity.base_sha256,
        refiner_sha256=identity.refiner_sha256 if refined else None,
        vae_sha256=identity.vae_sha256,
        torch_dtype=identity.torch_dtype,
        adapters=adapters,
        embeddings=embeddings or msgspec.UNSET,
        prompt=prompt,
        negative_prompt=negative_prompt,
        seed=seed,
        guidance_scale=float(guidance_scale),
        num_inference_steps=sampling.num_inference_steps,
        width=sampling.width,
        height=sampling.height,
        denoising_split=sampling.denoising_split if refined else None,
        guidance_start=guidance_start or msgspec.UNSET,
        guidance_end=guidance_end if guidance_end != 1.0 else msgspec.UNSET,
        refiner_negative_prompt=None if refined and refiner == "shared" and negative_prompt is not None else msgspec.UNSET,
    )


def paint_or_reuse(
    pace: PaintPace, model: ModelSpec, request: ImageRequest, folder: Path, *, index: int, label: str = "", known_sha256: str | None = None
) -> Picture:
    """The picture of `request` in `folder`: the whole file that is there (of `known_sha256`, if given), else painted now.

    Raises `Interrupted` at a step boundary when the job was asked to stop, leaving no file, and `NegError` `disk_full`.
    """
    standing = _standing(folder, request, known_sha256)
    if standing is not None:
        return standing
    name = image_id(request)
    _prepare(folder, (request,))
    pace.tell(0, request.num_inference_steps, index, label)
    return _saved(folder, request, pace.context.engine.paint(model, request, pace.on_step(name, index, label)))


def paint_block_or_reuse(
    pace: PaintPace, model: ModelSpec, requests: Sequence[ImageRequest], folder: Path, *, index: int, labels: Sequence[str]
) -> Iterator[tuple[int, Picture]]:
    """The pictures of a block in `folder`, each with its request's number: first those that are there, then the others as the engine
    finishes them, each once where requests are equal. `index` is the first one's among all of the recipe.

    Raises as `paint_or_reuse`; what was finished before stays.
    """
    missing: dict[str, list[int]] = {}
    for number, request in enumerate(requests):
        standing = _standing(folder, request)
        if standing is None:
            missing.setdefault(image_id(request), []).append(number)
        else:
            yield number, standing
    if not missing:
        return
    numbers = [same[0] for same in missing.values()]
    wanted = [requests[number] for number in numbers]
    _prepare(folder, wanted)
    pace.tell(0, wanted[0].num_inference_steps, index + numbers[0], labels[numbers[0]])
    on_step = pace.on_block_step(list(missing), [index + number for number in numbers], [labels[number] for number in numbers])
    for place, image in pace.context.engine.paint_block(model, wanted, on_step):
        picture = _saved(folder, wanted[place], image)
        for number in missing[picture.id]:
            yield number, picture


def save_picture(folder: Path, id: str, image: Image.Image, text: dict[str, str]) -> str:
    """Write thumbnails, then `<id>.png` with `text` as its text chunks; returns the PNG's sha256. The same picture gives the same bytes."""
    for pixels in THUMBNAIL_PIXELS:
        files.write_atomic(thumbnail_path(folder, id, pixels), encode_thumbnail(image, pixels), durable=False)
    return files.write_atomic(folder / f"{id}.png", encode_png(image, text))


def open_rgb(path: Path) -> Image.Image:
    """A picture's file in memory, as RGB. Raises `OSError` where it is none."""
    with Image.open(path) as image:
        return image.convert("RGB")


def encode_png(image: Image.Image, text: dict[str, str] | None = None) -> bytes:
    """A PNG with text chunks (tEXt, or iTXt where Latin-1 does not suffice)."""
    chunks = PngInfo()
    for name, value in (text or {}).items():
        chunks.add_text(name, value.replace("\0", "\ufffd"))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=chunks, compress_level=6)
    return buffer.getvalue()


def encode_thumbnail(image: Image.Image, pixels: int) -> bytes:
    """A WebP whose longer side is at most `pixels`; a picture is never enlarged, and a small one that fits is kept exactly."""
    small = image.convert("RGB")
    small.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    exact = small.size == image.size and max(small.size) <= MAX_EXACT_PIXELS
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", lossless=exact, quality=90, method=2)
    return buffer.getvalue()


def thumbnail_path(folder: Path, id: str, pixels: int) -> Path:
    """Where a picture's thumbnail lies; `pixels` is one of `THUMBNAIL_PIXELS`."""
    return folder / THUMBNAILS_FOLDER / str(pixels) / f"{id}.webp"


def whole_png_sha256(path: Path, size: tuple[int, int]) -> str | None:
    """The sha256 of a PNG of `size` (width, height) whose chunks are all there and sound, else None."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if not content.endswith(_PNG_END):
        return None
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            same_size = image.size == size
            image.verify()
    except (OSError, SyntaxError, ValueError):
        return None
    return hashlib.sha256(content).hexdigest() if same_size else None


def _standing(folder: Path, request: ImageRequest, known_sha256: str | None = None) -> Picture | None:
    """The whole file that is there, of `known_sha256` if given."""
    name = image_id(request)
    path = folder / f"{name}.png"
    sha256 = whole_png_sha256(path, (request.width, request.height))
    if sha256 is None or known_sha256 not in (None, sha256):
        return None
    _complete_thumbnails(folder, name)
    return Picture(name, path, sha256, reused=True)


def _prepare(folder: Path, wanted: Sequence[ImageRequest]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files.require_space(folder, sum(3 * request.width * request.height for request in wanted))


def _saved(folder: Path, request: ImageRequest, image: Image.Image) -> Picture:
    name = image_id(request)
    return Picture(name, folder / f"{name}.png", save_picture(folder, name, image, picture_text(request)), reused=False)


def _complete_thumbnails(folder: Path, id: str) -> None:
    paths = {pixels: thumbnail_path(folder, id, pixels) for pixels in THUMBNAIL_PIXELS}
    missing = {pixels: path for pixels, path in paths.items() if not path.is_file() or path.stat().st_size == 0}
    if missing:
        with Image.open(folder / f"{id}.png") as image:
            for pixels, path in missing.items():
                files.write_atomic(path, encode_thumbnail(image, pixels), durable=False)
