"""Pictures from resident models: the arms of a block together where the device gains by it, making room when it runs out of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline
from msgspec import UNSET
from PIL import Image
from torch import Tensor, nn

from daemon.engine.adapters import Acting, acting
from daemon.engine.base import OnBlockStep
from daemon.engine.guidance import Branch, Guidance, Row, guidance_window
from daemon.engine.memory import free_cached, retrying
from daemon.engine.parts import Sources
from daemon.engine.preview import preview_jpeg
from daemon.engine.prompts import PromptEmbeddings, encode_for_base, encode_for_refiner
from daemon.engine.residents import Residents
from daemon.engine.row_adapters import RowAdapters
from daemon.engine.sampling import (
    OnLatents,
    Stage,
    base_pipeline,
    base_stage,
    decode,
    denoise,
    refiner_pipeline,
    refiner_stage,
    start_latents,
)
from daemon.models.sources import Role
from daemon.protocol.errors import NegError
from daemon.protocol.specs import EmbeddingRequest, ImageRequest

BRANCHES: tuple[Branch, ...] = ("negative", "positive")


def paint_block(
    residents: Residents, sources: Sources, requests: Sequence[ImageRequest], on_step: OnBlockStep | None
) -> Iterator[tuple[int, Image.Image]]:
    """RGB pictures as they are finished, each with its request's number. Out of memory, fewer are painted together; of a single one,
    first everything else goes, then base and refiner are each alone on the device; then `gpu_oom` in words."""
    for request in requests:
        residents.shelf.require_rows(request.adapters)
    waiting, noises = _batches(residents, sources, requests), Noises()
    while waiting:
        numbers = waiting.pop(0)
        batch = _Batch(residents, sources, [requests[number] for number in numbers], noises, _of_batch(on_step, numbers))
        images = _run(batch, residents, sources, requests[numbers[0]], len(numbers))
        if images is None:
            half = len(numbers) // 2
            waiting[:0] = [numbers[:half], numbers[half:]]
            continue
        yield from zip(numbers, images, strict=True)


def _batches(residents: Residents, sources: Sources, requests: Sequence[ImageRequest]) -> list[list[int]]:
    """Numbers of the requests that are painted together: of the same steps and size, and of adapters that can act on single rows."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, request in enumerate(requests):
        key: tuple[object, ...] = (request.width, request.height, request.num_inference_steps, request.denoising_split)
        if any(residents.shelf.obstacle_by_row(use) for use in request.adapters):
            key = (number,)
        groups.setdefault(key, []).append(number)
    batches = []
    for numbers in groups.values():
        size = residents.num_together(sources, requests[numbers[0]].width, requests[numbers[0]].height, len(numbers))
        batches += [numbers[start : start + size] for start in range(0, len(numbers), size)]
    return sorted(batches)


def _run(batch: _Batch, residents: Residents, sources: Sources, first: ImageRequest, num_pictures: int) -> list[Image.Image] | None:
    """None where so many do not fit; raises `NegError` `gpu_oom` where a single one does not."""
    residents.plan_for(sources, first.width, first.height, num_pictures)
    rungs = [("freeing what is not needed", batch.drop_others), ("base and refiner one after the other", batch.go_alone)]
    try:
        images = retrying(batch.run, rungs if num_pictures == 1 else ())
    except torch.OutOfMemoryError as error:
        free_cached()
        if num_pictures > 1:
            return None
        raise NegError(
            "gpu_oom",
            f"A {first.width} x {first.height} picture does not fit beside {residents.store.num_bytes / 2**30:.1f} GiB of models.",
            "Paint smaller pictures, leave the refiner out, or close other programs on the GPU.",
        ) from error
    residents.learn_working_bytes(sources, first.width, first.height, num_pictures)
    return images


def _of_batch(on_step: OnBlockStep | None, numbers: Sequence[int]) -> OnBlockStep | None:
    """Tells of a batch's pictures by their numbers in the block."""
    return None if on_step is None else lambda own, *progress: on_step([numbers[number] for number in own], *progress)


class Noises:
    """Start noise of a block, drawn once for all its arms."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def draw(self, pipeline: StableDiffusionXLPipeline, request: ImageRequest, generator: torch.Generator) -> Tensor:
        """(1, 4, h, w); leaves the generator as drawing it does."""
        key = (request.seed, request.width, request.height, request.num_inference_steps)
        if key not in self._drawn:
            latents = start_latents(pipeline, request.width, request.height, generator.manual_seed(request.seed))
            self._drawn[key] = latents, generator.get_state()
        latents, state = self._drawn[key]
        generator.set_state(state)
        return latents


class _Batch:
    """Some requests' way through base and refiner, step by step together."""

    def __init__(
        self,
        residents: Residents,
        sources: Sources,
        requests: Sequence[ImageRequest],
        noises: Noises,
        on_step: OnBlockStep | None,
    ) -> None:
        self._residents, self._sources, self._requests, self._noises, self._on_step = residents, sources, requests, noises, on_step
        first = requests[0]
        is_refined = first.refiner_sha256 is not None and sources.refiner is not None
        self._split = first.denoising_split if is_refined else None
        self._size = first.width, first.height
        self._alone = False

    def run(self) -> list[Image.Image]:
        if self._sources.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        num_inference_steps = self._requests[0].num_inference_steps
        pipeline = base_pipeline(self._stage("base"), self._residents.settings(self._sources, "base"))
        self._residents.shelf.load(pipeline, [use.sha256 for request in self._requests for use in request.adapters])
        stage = base_stage(pipeline, num_inference_steps, *self._size, self._split)
        self._vae, self._num_steps = pipeline.vae, len(stage.scheduler.timesteps)
        latents, generators = self._start(pipeline)
        embeddings = [self._embedded("base", pipeline, request, request.negative_prompt) for request in self._requests]
        latents = self._denoise(stage, latents, embeddings, generators, [acting_in_both(request) for request in self._requests])
        if self._split is None:
            return [decode(pipeline, one) for one in latents]
        num_base_steps = len(stage.timesteps)
        del pipeline, stage
        refining = refiner_pipeline(self._stage("refiner"), self._residents.settings(self._sources, "refiner"))
        # It shares the second text encoder with the base, whose adapters are none of its business.
        embeddings = [self._embedded("refiner", refining, request, _refiner_negative(request)) for request in self._requests]
        stage = refiner_stage(refining, num_inference_steps, *self._size, self._split, num_base_steps)
        latents = self._denoise(stage, latents, embeddings, generators, [((), ())] * len(latents))
        return [decode(refining, one) for one in latents]

    def drop_others(self) -> None:
        self._residents.store.drop_all_but(self._keys())

    def go_alone(self) -> None:
        self._alone = True
        self._residents.store.drop_all_but(())

    def _start(self, pipeline: StableDiffusionXLPipeline) -> tuple[list[Tensor], list[torch.Generator]]:
        """Start noise, and generators that go on behind it. On the CPU for every device: a GPU starts from the same noise."""
        generators = [torch.Generator("cpu") for _ in self._requests]
        latents = [self._noises.draw(pipeline, request, one) for request, one in zip(self._requests, generators, strict=True)]
        return latents, generators

    def _denoise(
        self,
        stage: Stage,
        latents: list[Tensor],
        embeddings: Sequence[PromptEmbeddings],
        generators: Sequence[torch.Generator],
        found: Sequence[tuple[Acting, Acting]],
    ) -> list[Tensor]:
        """Those of one length of words together. `found`: what acts in the negative and the positive branch of each."""
        lengths: dict[int, list[int]] = {}
        for number, one in enumerate(embeddings):
            lengths.setdefault(one.prompt_embeds_1LD.shape[1], []).append(number)
        finished = list(latents)
        stages = [stage, *(stage.again() for _ in range(len(lengths) - 1))]
        for stage, numbers in zip(stages, lengths.values(), strict=True):
            rows = self._acting(stage.pipeline.unet, [found[number] for number in numbers])
            with rows.attached() if rows else nullcontext():
                batch = denoise(
                    stage,
                    torch.cat([latents[number] for number in numbers]),
                    [embeddings[number] for number in numbers],
                    [self._guidance(stage, self._requests[number]) for number in numbers],
                    [generators[number] for number in numbers],
                    self._stepped(numbers, stage.first_step),
                    rows.choose if rows else lambda rows: None,
                )
            for number, one in zip(numbers, batch.split(1), strict=True):
                finished[number] = one
        return finished

    def _acting(self, unet: nn.Module, found: Sequence[tuple[Acting, Acting]]) -> RowAdapters | None:
        """None where the same adapters act on every row: then they act as in plain diffusers."""
        by_row = {Row(number, branch): one for number, both in enumerate(found) for branch, one in zip(BRANCHES, both, strict=True)}
        shelf = self._residents.shelf
        if len(set(by_row.values())) == 1:
            shelf.activate(unet, "unet", found[0][0])
            return None
        return RowAdapters(unet, dict(zip(by_row, shelf.row_names(unet, list(by_row.values())), strict=True)))

    def _guidance(self, stage: Stage, request: ImageRequest) -> Guidance:
        start = 0.0 if request.guidance_start is UNSET else request.guidance_start
        end = 1.0 if request.guidance_end is UNSET else request.guidance_end
        # A UNet that was distilled to take the scale as an input has no negative branch.
        is_distilled = stage.pipeline.unet.config.time_cond_proj_dim is not None
        return Guidance(request.guidance_scale, range(0) if is_distilled else guidance_window(self._num_steps, start, end))

    def _stepped(self, numbers: Sequence[int], first_step: int) -> OnLatents:
        step = first_step

        def stepped(latents_BCHW: Tensor, sigma: float) -> None:
            nonlocal step
            step += 1
            if self._on_step is not None:
                self._on_step(numbers, step, max(self._num_steps, step), lambda: self._preview(latents_BCHW[-1:], sigma))

        return stepped

    def _preview(self, latents_1CHW: Tensor, sigma: float) -> bytes:
        return preview_jpeg(latents_1CHW, self._residents.decoder(self._vae), sigma, *self._size)

    def _embedded(self, role: Role, pipeline: Any, request: ImageRequest, negative_prompt: str | None) -> PromptEmbeddings:
        """Each text with the adapters of its branch; encoded once for all pictures that share them, whatever else they differ in."""
        negative, positive = acting_in_both(request) if role == "base" else ((), ())
        learned = request.embeddings or ()
        prompt = self._encoded(role, pipeline, (request.prompt, None, True), learned, positive)
        if negative_prompt is None and pipeline.config.force_zeros_for_empty_prompt:
            return prompt
        other = self._encoded(role, pipeline, (negative_prompt or "", None, True), learned, negative)
        if other.prompt_embeds_1LD.shape != prompt.prompt_embeds_1LD.shape:
            # Texts of unequal length are padded by encoding both in one call.
            both = (request.prompt, negative_prompt or "", False)
            prompt = self._encoded(role, pipeline, both, learned, positive)
            return prompt.beside(*self._encoded(role, pipeline, both, learned, negative).of("negative"))
        return prompt.beside(*other.of("positive"))

    def _encoded(
        self, role: Role, pipeline: Any, words: tuple[str, str | None, bool], learned: Sequence[EmbeddingRequest], found: Acting
    ) -> PromptEmbeddings:
        text = f"{words[0]} {words[1] or ''}".lower()
        used = tuple(one for one in learned if one.placeholder_token.lower() in text)
        on_text = self._residents.shelf.on_text(found)

        def encode() -> PromptEmbeddings:
            for name in ("text_encoder", "text_encoder_2"):
                if getattr(pipeline, name) is not None:
                    self._residents.shelf.activate(getattr(pipeline, name), name, on_text)
            with self._residents.embedding_shelf.lent(pipeline.components, used) as parts:
                return (encode_for_base if role == "base" else encode_for_refiner)(parts, *words)

        return self._residents.embeddings(self._sources, role, (*words, used, on_text), encode)

    def _stage(self, role: Role) -> dict[str, Any]:
        if self._alone:
            self._residents.store.drop_all_but(tuple(self._residents.keys(self._sources, role).values()))
        return self._residents.parts(self._sources, role)

    def _keys(self) -> tuple[str, ...]:
        roles: tuple[Role, ...] = ("base",) if self._split is None else ("base", "refiner")
        return tuple(key for role in roles for key in self._residents.keys(self._sources, role).values())


def acting_in_both(request: ImageRequest) -> tuple[Acting, Acting]:
    """What acts in the negative and in the positive branch."""
    return acting(request.adapters, "negative"), acting(request.adapters, "positive")


def _refiner_negative(request: ImageRequest) -> str | None:
    return request.negative_prompt if request.refiner_negative_prompt is UNSET else request.refiner_negative_prompt
