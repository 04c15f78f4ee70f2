"""Which images, views and captions a step trains on, as latents: all of it pure functions of (seed, step, micro-step).

Instance images in buckets of one size, class images beside them in the same size, each with its own caption and size conditioning. Crops
that are fixed are encoded once and kept; random ones when they are drawn, since hardly any comes twice. Knows nothing of noise or losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from daemon.engine.base import ModelIdentity
from daemon.engine.memory import move_aside, retrying
from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.data.cache import PosteriorCache, Row
from daemon.training.data.dataset import Dataset, TrainingImage
from daemon.training.data.draws import Showing, Stream, bucket_of_batch, draw_fraction, draw_seed
from daemon.training.data.views import Size, best_bucket, bucket_sizes, centre_view, num_crops, random_view, time_ids

MAX_SHOWINGS = 2**20
"""Of an epoch: its order is held in memory."""
NUM_MEASURED = 8
"""Trained images the held-out loss is measured on where none is held out."""

OnImage = Callable[[int, int], None]


@dataclass(frozen=True)
class Batch:
    """What one micro-step trains on. Rows belong together: the i-th latent, time ids and caption are of one image."""

    latents_BCHW: Tensor
    """float32, CPU, scaled for the UNet, freshly sampled from the posterior."""
    time_ids_B6: Tensor
    """float32, CPU."""
    captions: tuple[str | None, ...]
    """None: dropped, that is the model's unconditional embeddings."""
    num_class: int = 0
    """The last so many rows are class images (prior preservation): half of the batch."""


class Batches:
    """The batches of a training. `captions`: every caption that may be drawn."""

    def __init__(self, dataset: Dataset, spec: TrainingSpec, posteriors: PosteriorCache) -> None:
        num_showings = len(dataset.images) * spec.repeats
        if num_showings > MAX_SHOWINGS:
            message = f"training.repeats is {spec.repeats:,}: an epoch would show {num_showings:,} images, {MAX_SHOWINGS:,} are allowed."
            raise NegError("too_large", message, "Lower repeats; epochs follow each other anyway.")
        self._spec, self._posteriors = spec, posteriors
        self._sizes = _sizes(spec)
        self._buckets = tuple(_in_buckets(dataset.images, self._sizes).items())
        self._counts = tuple(len(images) for _, images in self._buckets)
        self._streams = tuple(self._stream(size, len(images)) for size, images in self._buckets)
        self._class_images = dataset.class_images
        self._class_stream = Stream(len(dataset.class_images), 1, spec.seed, "class") if dataset.class_images else None
        self._measured, self._is_held_out = dataset.held_out or dataset.images[:NUM_MEASURED], bool(dataset.held_out)
        images = (*dataset.images, *dataset.class_images, *self._measured)
        self.captions = tuple(dict.fromkeys(image.caption for image in images))

    def draw(self, step: int, micro_step: int) -> Batch:
        """The batch of a micro-step (from 0) of a step (from 1), whatever was drawn before. Raises `NegError` as `PosteriorCache`."""
        spec = self._spec
        number = (step - 1) * spec.gradient_accumulation_steps + micro_step
        bucket, turn = bucket_of_batch(self._counts, spec.seed, number)
        size, images = self._buckets[bucket]
        showings = self._streams[bucket].batch(turn, spec.train_batch_size)
        rows = [self._row(images[shown.index], size, shown, "instance") for shown in showings]
        num_class = 0
        if self._class_stream is not None:
            num_class = spec.train_batch_size
            showings = self._class_stream.batch(number, num_class)
            rows += [self._row(self._class_images[shown.index], size, shown, "class") for shown in showings]
        captions = tuple(self._caption(image, step, micro_step, row) for row, (image, _, _) in enumerate(rows))
        return self._batch(rows, captions, draw_seed(spec.seed, "posterior", step, micro_step), num_class)

    def held_out(self) -> tuple[Batch, ...]:
        """The held-out images, without any the first trained ones: always the same crops, captions and posterior draws, in few batches."""
        batches = []
        for size, images in _in_buckets(self._measured, self._sizes).items():
            for first in range(0, len(images), self._spec.train_batch_size):
                rows = [_fixed_row(image, size) for image in images[first : first + self._spec.train_batch_size]]
                seed = draw_seed(0, "held_out", *size, first)
                batches.append(self._batch(rows, tuple(image.caption for image, _, _ in rows), seed))
        return tuple(batches)

    def fixed_rows(self) -> Iterator[Row]:
        """What can be encoded before the first step: every view that is known to come, each once."""
        for size, images in self._buckets:
            yield from (row for image in images for row in self._fixed_views(image, size))
        for image in self._class_images if len(self._buckets) == 1 else ():
            yield from self._fixed_views(image, self._buckets[0][0])
        for size, images in _in_buckets(self._measured, self._sizes).items():
            yield from (_fixed_row(image, size) for image in images if self._is_held_out or not self._has_fixed_crop(image, size))

    def _stream(self, size: Size, num_images: int) -> Stream:
        place = size if self._spec.aspect_ratio_buckets else ()
        return Stream(num_images, self._spec.repeats, self._spec.seed, *place)

    def _fixed_views(self, image: TrainingImage, size: Size) -> Iterator[Row]:
        if self._has_fixed_crop(image, size):
            for is_flipped in (False, True) if self._spec.random_flip else (False,):
                yield image, centre_view(image.original_size, size, is_flipped), True

    def _has_fixed_crop(self, image: TrainingImage, size: Size) -> bool:
        return self._spec.center_crop or num_crops(image.original_size, size) == 1

    def _row(self, image: TrainingImage, size: Size, shown: Showing, kind: str) -> Row:
        """An image at one of its turns: its crop and flip are drawn for this turn alone."""
        place = (kind, shown.epoch, shown.repeat, image.sha256)
        is_flipped = self._spec.random_flip and draw_fraction(self._spec.seed, "flip", *place) < 0.5
        if self._has_fixed_crop(image, size):
            return image, centre_view(image.original_size, size, is_flipped), True
        return image, random_view(image.original_size, size, draw_seed(self._spec.seed, "crop", *place), is_flipped), False

    def _caption(self, image: TrainingImage, step: int, micro_step: int, row: int) -> str | None:
        is_dropped = draw_fraction(self._spec.seed, "caption_dropout", step, micro_step, row) < self._spec.caption_dropout
        return None if is_dropped else image.caption

    def _batch(self, rows: Sequence[Row], captions: tuple[str | None, ...], seed: int, num_class: int = 0) -> Batch:
        # A CPU generator whatever the device: the same seed then draws the same latents everywhere.
        latents_BCHW = self._posteriors.sample(rows, torch.Generator().manual_seed(seed))
        ids = [time_ids(image.original_size, view) for image, view, _ in rows]
        return Batch(latents_BCHW, torch.tensor(ids, dtype=torch.float32), captions, num_class)


def prepare_batches(
    dataset: Dataset,
    spec: TrainingSpec,
    parts: Any,
    identity: ModelIdentity,
    folder: Path,
    on_image: OnImage = lambda index, num_images: None,
) -> Batches:
    """Batches of `dataset`, with the posteriors of all fixed views in `folder`: those that are not there are encoded now, in float32.

    `on_image(index, num_images)` is called before each and may raise. On a GPU without room for it, the other parts give way meanwhile.
    Raises `NegError`: a file changed, the VAE gives no finite numbers, `disk_full`, too many repeats.
    """
    posteriors = PosteriorCache(parts.vae, parts.device, identity, folder)
    batches = Batches(dataset, spec, posteriors)
    num_rows = sum(1 for _ in batches.fixed_rows())

    def encode() -> None:
        with posteriors.encoding():
            for index, row in enumerate(batches.fixed_rows()):
                on_image(index, num_rows)
                posteriors.posterior(*row)

    others = (parts.text_encoder, parts.text_encoder_2, parts.unet)
    is_on_gpu = torch.device(parts.device).type == "cuda"
    try:
        retrying(encode, [("the other parts give way while images are encoded", lambda: move_aside(*others))] if is_on_gpu else [])
    finally:
        for module in others if is_on_gpu else ():
            torch.nn.Module.to(module, parts.device)
    return batches


def _sizes(spec: TrainingSpec) -> tuple[Size, ...]:
    return bucket_sizes(spec.resolution, spec.bucket_step) if spec.aspect_ratio_buckets else ((spec.resolution, spec.resolution),)


def _in_buckets(images: Sequence[TrainingImage], sizes: Sequence[Size]) -> dict[Size, tuple[TrainingImage, ...]]:
    """Images by the size they are trained at, smallest height first; only sizes that have any."""
    found: dict[Size, list[TrainingImage]] = {}
    for image in images:
        found.setdefault(best_bucket(image.original_size, sizes), []).append(image)
    return {size: tuple(found[size]) for size in sorted(found)}


def _fixed_row(image: TrainingImage, size: Size) -> Row:
    return image, centre_view(image.original_size, size), True
