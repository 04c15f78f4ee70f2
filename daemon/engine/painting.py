"""One picture from resident models: stage by stage, making room when the device runs out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image

from daemon.engine.adapters import ActingOnText
from daemon.engine.base import OnStep
from daemon.engine.memory import free_cached, retrying
from daemon.engine.parts import Sources
from daemon.engine.prompts import PromptEmbeddings, encode_for_base, encode_for_refiner
from daemon.engine.residents import Residents
from daemon.engine.sampling import Progress, base_pipeline, count_steps, refiner_pipeline, run_base, run_refiner
from daemon.models.sources import Role
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRequest


def paint(residents: Residents, sources: Sources, request: ImageRequest, on_step: OnStep | None) -> Image.Image:
    """One RGB picture. Out of memory, first everything else goes, then each stage is alone on the device; then `gpu_oom` in words."""
    residents.plan_for(sources, request.width, request.height)
    painting = _Painting(residents, sources, request, on_step)
    rungs = [("freeing what is not needed", painting.drop_others), ("base and refiner one after the other", painting.go_alone)]
    try:
        image = retrying(painting.run, rungs)
    except torch.OutOfMemoryError as error:
        free_cached()
        raise NegError(
            "gpu_oom",
            f"A {request.width} x {request.height} picture does not fit beside {residents.store.num_bytes / 2**30:.1f} GiB of models.",
            "Paint smaller pictures, leave the refiner out, or close other programs on the GPU.",
        ) from error
    residents.learn_working_bytes(sources, request.width, request.height)
    return image


class _Painting:
    """One request's way through base and refiner."""

    def __init__(self, residents: Residents, sources: Sources, request: ImageRequest, on_step: OnStep | None) -> None:
        self._residents, self._sources, self._request, self._on_step = residents, sources, request, on_step
        self._with_refiner = request.refiner_sha256 is not None and request.denoising_split is not None and sources.refiner is not None
        self._alone = False

    def run(self) -> Image.Image:
        if self._sources.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        request, split = self._request, self._request.denoising_split if self._with_refiner else None
        # A CPU generator on every device: a GPU starts from the same noise as a CPU.
        generator = torch.Generator("cpu").manual_seed(request.seed)
        base = self._stage("base")
        pipeline = base_pipeline(base, self._residents.settings(self._sources, "base"))
        vae = base["vae"]
        progress = Progress(self._on_step, request, lambda: self._residents.decoder(vae))
        progress.num_steps = count_steps(base["scheduler"], request.num_inference_steps)
        acting = self._residents.shelf.activate(pipeline, request.adapters)
        embeddings = self._embeddings("base", pipeline, encode_for_base, acting)
        latents = run_base(pipeline, request, embeddings, generator, progress, to_latents=split is not None)
        if split is None:
            assert isinstance(latents, Image.Image)
            return latents
        assert isinstance(latents, torch.Tensor)
        del pipeline, base
        refiner = self._stage("refiner")
        progress.num_steps = progress.step + count_steps(refiner["scheduler"], request.num_inference_steps, split)
        refining = refiner_pipeline(refiner, self._residents.settings(self._sources, "refiner"))
        # It shares the second text encoder with the base, whose adapters are none of its business.
        acting = self._residents.shelf.activate(refining, ())
        embeddings = self._embeddings("refiner", refining, encode_for_refiner, acting)
        return run_refiner(refining, request, embeddings, latents, generator, progress)

    def drop_others(self) -> None:
        self._residents.store.drop_all_but(self._keys())

    def go_alone(self) -> None:
        self._alone = True
        self._residents.store.drop_all_but(())

    def _embeddings(self, role: Role, pipeline: Any, encode: Callable[..., PromptEmbeddings], acting: ActingOnText) -> PromptEmbeddings:
        """Encoded once for all pictures of the same words and adapters of the encoders: arms, seeds and guidance scales share them."""
        zeros = bool(pipeline.config.force_zeros_for_empty_prompt)
        words = (self._request.prompt, self._request.negative_prompt, zeros)
        learned = self._request.embeddings or ()

        def encode_words() -> PromptEmbeddings:
            with self._residents.embedding_shelf.lent(pipeline.components, learned) as parts:
                return encode(parts, *words)

        return self._residents.embeddings(self._sources, role, (*words, learned, acting), encode_words)

    def _stage(self, role: Role) -> dict[str, object]:
        if self._alone:
            self._residents.store.drop_all_but(tuple(self._residents.keys(self._sources, role).values()))
        return self._residents.parts(self._sources, role)

    def _keys(self) -> tuple[str, ...]:
        roles: tuple[Role, ...] = ("base", "refiner") if self._with_refiner else ("base",)
        return tuple(key for role in roles for key in self._residents.keys(self._sources, role).values())
