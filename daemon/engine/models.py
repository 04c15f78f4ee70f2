"""The engine: models resident on one device, painting and lending. Imports torch at first need, so that making one is cheap."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from daemon import models
from daemon.engine.base import GpuBytes, ModelIdentity, OnBlockStep, OnStep, Trajectory
from daemon.engine.parts import Sources, TrainingParts
from daemon.files import sha256_file
from daemon.protocol.errors import NegError
from daemon.protocol.events import ResidentPart
from daemon.protocol.specs import ImageRequest, ModelSpec

if TYPE_CHECKING:
    from daemon.engine.residents import Residents


USUAL_SIZE = (1024, 1024)
"""What room is left for when a model is loaded before its first picture."""


def create_engine(cache_path: Path) -> LocalEngine:
    """An engine that remembers hashes and configurations below `cache_path`. Loads nothing yet."""
    return LocalEngine(cache_path)


class LocalEngine:
    """Implements `daemon.engine.base.Engine` in this process."""

    def __init__(self, cache_path: Path) -> None:
        self._cache_path = cache_path
        self._adapter_paths: dict[str, Path] = {}
        self._embedding_paths: dict[str, Path] = {}
        self._offered: dict[tuple[str, str, int, int], str] = {}
        self._residents: Residents | None = None
        # Read when transformers is imported: it tells at length of optional packages it does without.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

    def identify(self, model: ModelSpec) -> ModelIdentity:
        return models.identify(model, self._cache_path)

    def offer_adapter(self, path: Path) -> str:
        from daemon.models.adapter_files import check_adapter_file

        return self._offer(path, "adapter", check_adapter_file, self._adapter_paths)

    def offer_embedding(self, path: Path) -> str:
        from daemon.models.embedding_files import check_embedding_file

        return self._offer(path, "embedding", check_embedding_file, self._embedding_paths)

    def paint(self, model: ModelSpec, request: ImageRequest, on_step: OnStep | None = None) -> Image.Image:
        """See `Engine.paint`; raises as `paint_block`."""
        told: OnBlockStep | None = None if on_step is None else lambda numbers, *progress: on_step(*progress)
        ((_, image),) = self.paint_block(model, (request,), told)
        return image

    def paint_block(
        self, model: ModelSpec, requests: Sequence[ImageRequest], on_step: OnBlockStep | None = None
    ) -> Iterator[tuple[int, Image.Image]]:
        """See `Engine.paint_block`. Raises `NegError` `conflict` when the model's files are not those that a request names, `gpu_oom`
        when a picture does not fit; whatever `on_step` raises ends the painting at that step and leaves the engine as it was."""
        from daemon.engine.painting import paint_block

        sources = self._sources(model)
        for request in requests:
            _require_same(sources.identity, request)
        yield from paint_block(self._loaded(), sources, requests, on_step)

    def watch(self, model: ModelSpec, request: ImageRequest, on_step: OnStep | None = None) -> Trajectory:
        """See `Engine.watch`; raises as `paint`."""
        from daemon.engine.diagnosis import watch

        return watch(self._loaded(), self._sources(model), request, lambda: self.paint(model, request, on_step))

    @contextlib.contextmanager
    def borrow_training_parts(self, model: ModelSpec) -> Iterator[TrainingParts]:
        """Lend the base; afterwards it is clean again whatever was done: own layers, no adapters, no gradients, eval mode, its dtype."""
        parts = self.training_parts(model)
        try:
            yield parts
        finally:
            self._loaded().take_back(parts)

    def training_parts(self, model: ModelSpec) -> TrainingParts:
        """The resident base without any adapter. Prefer `borrow_training_parts`, which also cleans up."""
        from daemon.engine.residents import training_parts

        return training_parts(self._loaded(), self._sources(model))

    def residents(self) -> tuple[ResidentPart, ...]:
        residents = self._residents
        return () if residents is None else residents.told()

    def gpu_bytes(self) -> GpuBytes | None:
        if self._residents is None:
            return None
        from daemon.engine.memory import gpu_bytes

        return gpu_bytes()

    def hold(self, model: ModelSpec) -> None:
        sources = self._sources(model)
        residents = self._loaded()
        residents.plan_for(sources, *USUAL_SIZE)
        residents.parts(sources, "base")
        if sources.refiner is not None:
            residents.parts(sources, "refiner")

    def close(self) -> None:
        if self._residents is not None:
            self._residents.close()
            self._residents = None

    def _offer(self, path: Path, what: str, check: Callable[[Path], None], known: dict[str, Path]) -> str:
        path = path.resolve()
        if not path.is_file():
            raise NegError("not_found", f"There is no {what} at {path}.", "Train it first.")
        status = path.stat()
        key = (what, str(path), status.st_size, status.st_mtime_ns)
        if key not in self._offered:
            check(path)
            self._offered[key] = sha256_file(path)
        known[self._offered[key]] = path
        return self._offered[key]

    def _loaded(self) -> Residents:
        if self._residents is None:
            from daemon.engine.residents import Residents

            self._residents = Residents(self._cache_path, self._adapter_paths, self._embedding_paths)
        return self._residents

    def _sources(self, model: ModelSpec) -> Sources:
        return Sources.of(model, self.identify(model))


def _require_same(identity: ModelIdentity, request: ImageRequest) -> None:
    found = (identity.base_sha256, identity.torch_dtype)
    asked = (request.base_sha256, request.torch_dtype)
    refiner_differs = request.refiner_sha256 is not None and request.refiner_sha256 != identity.refiner_sha256
    if found != asked or refiner_differs or request.vae_sha256 != identity.vae_sha256:
        raise NegError("conflict", "The model's files changed since this picture was planned.", "Submit the job again.")
