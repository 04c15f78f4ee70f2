"""What a session trains on: the images of its folders, what they are called, and which are kept apart to measure on.

Free of torch. Knows nothing of buckets, crops or draws.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from daemon.engine.base import ModelIdentity
from daemon.files import inside
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.placeholder import with_placeholder
from daemon.training.data import decoding
from daemon.training.data.class_images import CLASS_IMAGES_FOLDER, is_class_image
from daemon.training.data.decoding import RefusedImage, printable, read_regular
from daemon.training.data.draws import draw_seed
from daemon.training.data.folders import FolderImages, KnownSizes, TrainingImage, read_folder

__all__ = ["Dataset", "TrainingImage", "read_dataset", "read_image"]

INSTANCE_FOLDER = "dataset"


@dataclass(frozen=True)
class Dataset:
    """The usable images, each part sorted by content, so that names and dates of files change nothing."""

    images: tuple[TrainingImage, ...]
    class_images: tuple[TrainingImage, ...] = ()
    """For prior preservation; empty without it."""
    held_out: tuple[TrainingImage, ...] = ()
    """Never trained on, nor is any copy of one."""
    refused: tuple[str, ...] = ()
    """A sentence per file left out because it cannot be used; rejected pictures are not among them."""

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the images' contents and captions; names and places of files have no part in it."""
        parts = {"images": self.images, "class_images": self.class_images, "held_out": self.held_out}
        return canonical_sha256({name: [(image.sha256, image.caption) for image in part] for name, part in parts.items()})


def read_dataset(
    session_path: Path,
    spec: TrainingSpec,
    check: Callable[[], None] = lambda: None,
    identity: ModelIdentity | None = None,
) -> Dataset:
    """The images of `instance_data_dir` (else of the session's `dataset/`), and the class images where the prior is preserved.

    What decoding told is kept by content in `cache/images.json`, which may be deleted. `check` is called per file and may raise.
    `identity` tells class images that this model painted from another's. Raises `NegError` `not_found` where nothing usable is left,
    `invalid` where a folder leads out of the session or nothing would be left to train on beside the held-out images.
    """
    known = KnownSizes(session_path / "cache" / "images.json")
    try:
        folder = _folder(session_path, "instance_data_dir", spec.instance_data_dir, INSTANCE_FOLDER)
        found = read_folder(folder, known, captions=spec.captions, prompt=spec.instance_prompt, check=check)
        if not found.images:
            raise _nothing_usable(folder, found, spec.instance_data_dir)
        class_found = _read_class_images(session_path, spec, known, check, identity)
    finally:
        known.save()
    captioned = [dataclasses.replace(image, caption=with_placeholder(image.caption, spec)) for image in found.images]
    images, held_out = _hold_out(captioned, spec.validation_images)
    return Dataset(images, class_found.images[: spec.num_class_images], held_out, found.refused + class_found.refused)


def read_image(image: TrainingImage) -> Image.Image:
    """The upright RGB picture of a dataset entry; raises `NegError` `conflict` if the file is not what it was when the job began."""
    try:
        content = read_regular(image.path)
        if hashlib.sha256(content).hexdigest() == image.sha256:
            return decoding.decode(content)
    except RefusedImage:
        pass
    raise NegError("conflict", f"{printable(image.path)} changed while it was trained on.", "Start the training again.", retryable=True)


def _folder(session_path: Path, option: str, wanted: str | None, usual: str) -> Path:
    """The folder an option names, absolute or below the session's; a folder must be there where one is named."""
    if wanted is None:
        return session_path / usual
    try:
        path = Path(wanted).expanduser()
        folder = path if path.is_absolute() else inside(session_path, wanted)
        is_there = folder.is_dir()
    except (OSError, ValueError, RuntimeError):
        is_there = False
    if not is_there:
        raise NegError(
            "not_found", f"training.{option}: there is no folder {wanted}.", f"Give an absolute path or one below {session_path}."
        )
    return folder


def _read_class_images(
    session_path: Path, spec: TrainingSpec, known: KnownSizes, check: Callable[[], None], identity: ModelIdentity | None
) -> FolderImages:
    if not spec.with_prior_preservation:
        return FolderImages((), (), 0)
    folder = _folder(session_path, "class_data_dir", spec.class_data_dir, CLASS_IMAGES_FOLDER)
    is_own = spec.class_data_dir is None
    found = read_folder(
        folder,
        known,
        prompt=spec.class_prompt,
        wanted=lambda record: not is_own or is_class_image(record, spec, identity),
        check=check,
    )
    if not found.images:
        raise NegError(
            "not_found", f"{folder} has no class images to preserve the prior with{_reasons(found)}.", "Put images of class_prompt there."
        )
    return found


def _hold_out(images: Sequence[TrainingImage], num_held_out: int) -> tuple[tuple[TrainingImage, ...], tuple[TrainingImage, ...]]:
    """(trained, held out), by content alone: trainings of other seeds or settings hold out the same images."""
    if not num_held_out:
        return tuple(images), ()
    by_content = {image.sha256: image for image in reversed(images)}
    chosen = sorted(by_content, key=lambda sha256: draw_seed(0, "held_out", sha256))[:num_held_out]
    if len(chosen) == len(by_content):
        message = f"training.validation_images is {num_held_out}, and there are only {len(by_content)} different images to train on."
        raise NegError("invalid", message, "Lower it, or add images.")
    held_out = frozenset(chosen)
    return tuple(image for image in images if image.sha256 not in held_out), tuple(by_content[sha256] for sha256 in sorted(held_out))


def _nothing_usable(folder: Path, found: FolderImages, instance_data_dir: str | None) -> NegError:
    message = f"{folder} has no images to train on{_reasons(found)}."
    if instance_data_dir is not None:
        return NegError("not_found", message, "Put PNG, JPEG or WebP files there, or name another folder.")
    return NegError("not_found", message, "Run act 1 (synthesise) first, or put PNG, JPEG or WebP files there.")


def _reasons(found: FolderImages) -> str:
    refused = f"{len(found.refused)} unusable: {found.refused[0].rstrip('.')}" if found.refused else ""
    reasons = [f"{found.num_rejected} rejected" if found.num_rejected else "", refused]
    return " (" + "; ".join(filter(None, reasons)) + ")" if any(reasons) else ""
