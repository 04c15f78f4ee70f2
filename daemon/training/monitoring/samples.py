"""Sample pictures of a training under way, painted by the engine's own code from the weights as they lie in memory: nothing is reloaded.

Prompt by prompt in the comparison's arms on the base alone: `baseline` (no adapter, no negative prompt), `placebo` (no adapter, but the
adapter's word as negative prompt), `target` (adapter, same word). Training changes nothing about the first two: they are painted once.
Files: `samples/<run>/step-000100/target-00.png` and a line each in `samples/<run>/samples.jsonl`. Knows nothing of when samples are due.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import torch
from PIL import Image

from daemon.engine.guidance import Guidance, guidance_window
from daemon.engine.memory import at_work
from daemon.engine.preview import fit_linear_decoder, preview_jpeg
from daemon.engine.prompts import encode_for_base
from daemon.engine.sampling import base_pipeline, base_stage, decode, denoise, start_latents
from daemon.files import require_space
from daemon.manifest import append_line
from daemon.measuring.metrics import Measure
from daemon.picture_text import picture_text
from daemon.pictures import PaintPace, save_picture, whole_png_sha256
from daemon.protocol.events import SamplesSaved
from daemon.protocol.specs import ImageRequest
from daemon.protocol.training_spec import TrainingSpec
from daemon.recipe import JobContext
from daemon.training.monitoring.sample_lines import ARMS, ArmName, Place, SampleLine, read_lines, samples_event

PARTS = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler")


class Sampler:
    """Paints what is missing of a step's samples. A picture that stands there already, from the same weights, is told again."""

    def __init__(self, spec: TrainingSpec, parts: Any, place: Place, context: JobContext, word: str, score: Measure | None = None) -> None:
        """`word` is what the adapter was trained as: the negative prompt of placebo and target."""
        self._spec, self._parts, self._place, self._context, self._word, self._score = spec, parts, place, context, word, score
        self._lines = read_lines(place.lines_path)
        self._decoder: torch.Tensor | None = None

    def paint(
        self, step: int, weights_sha256: str, off: Callable[[], contextlib.AbstractContextManager[Any]], arms: Sequence[ArmName] = ARMS
    ) -> SamplesSaved:
        """All pictures of `step` in `arms`, with the weights in place; inside `off()` the adapter does nothing.

        Raises `Interrupted` at a denoising step where the job is asked to stop: whole pictures stay and are not painted again.
        """
        cells = [(index, arm) for index in range(len(self._spec.sample_prompts)) for arm in arms]
        pace = PaintPace(self._context, "sample", len(cells))
        lines = []
        for number, (index, arm) in enumerate(cells):
            self._context.check()
            wanted = self._wanted(step, index, arm, weights_sha256)
            with contextlib.nullcontext() if arm == "target" else off():
                lines.append(self._known(wanted) or self._make(wanted, pace, number))
        return samples_event(lines, self._place, step, self._context.job_id, self._context.session)

    def _wanted(self, step: int, index: int, arm: ArmName, weights_sha256: str) -> SampleLine:
        """A picture's line as it will be, but for what comes of it."""
        is_live = arm == "target"
        path = self._place.folder(step if is_live else 0) / f"{arm}-{index:02d}.png"
        return SampleLine(
            path=path.relative_to(self._place.session_path).as_posix(),
            step=step if is_live else 0,
            arm=arm,
            weights_sha256=weights_sha256 if is_live else "",
            request=self._request(index, None if arm == "baseline" else self._word),
            sha256="",
        )

    def _request(self, index: int, negative_prompt: str | None) -> ImageRequest:
        spec, identity = self._spec, self._parts.identity
        return ImageRequest(
            base_sha256=identity.base_sha256,
            vae_sha256=identity.vae_sha256,
            torch_dtype=identity.torch_dtype,
            prompt=spec.sample_prompts[index],
            negative_prompt=negative_prompt,
            seed=spec.sample_seed,
            guidance_scale=spec.sample_guidance_scale,
            num_inference_steps=spec.sample_num_inference_steps,
            width=spec.resolution,
            height=spec.resolution,
        )

    def _known(self, wanted: SampleLine) -> SampleLine | None:
        line = self._lines.get(wanted.path)
        if line is None or msgspec.structs.replace(line, sha256="", values={}) != wanted:
            return None
        size = (wanted.request.width, wanted.request.height)
        return line if whole_png_sha256(self._place.session_path / wanted.path, size) == line.sha256 else None

    def _make(self, wanted: SampleLine, pace: PaintPace, number: int) -> SampleLine:
        path = self._place.session_path / wanted.path
        path.parent.mkdir(parents=True, exist_ok=True)
        require_space(path.parent, 3 * wanted.request.width * wanted.request.height)
        image = self._paint(wanted.request, pace, number, f"{wanted.arm}: {wanted.request.prompt}"[:200])
        text = {"arm": wanted.arm, "training_step": str(wanted.step), **picture_text(wanted.request)}
        sha256 = save_picture(path.parent, path.stem, image, text)
        values = self._score([image], [wanted.request.prompt])[0] if self._score is not None else {}
        line = msgspec.structs.replace(wanted, sha256=sha256, values=values)
        append_line(self._place.lines_path, msgspec.json.encode(line))
        self._lines[line.path] = line
        return line

    def _paint(self, request: ImageRequest, pace: PaintPace, number: int, label: str) -> Image.Image:
        parts, zeros = self._parts, bool(self._parts.force_zeros_for_empty_prompt)
        on_step = pace.on_step(f"{self._place.run}-{number}", number, label)
        steps = itertools.count(1)

        def on_latents(latents_1CHW: torch.Tensor, sigma: float) -> None:
            on_step(
                next(steps), num_steps, lambda: preview_jpeg(latents_1CHW, self._preview_decoder(), sigma, request.width, request.height)
            )

        with _at_work(parts):
            pipeline = base_pipeline({name: getattr(parts, name) for name in PARTS}, {"force_zeros_for_empty_prompt": zeros})
            stage = base_stage(pipeline, request.num_inference_steps, request.width, request.height, None)
            num_steps = len(stage.timesteps)
            generator = torch.Generator("cpu").manual_seed(request.seed)
            latents = start_latents(pipeline, request.width, request.height, generator)
            embeddings = encode_for_base(pipeline.components, request.prompt, request.negative_prompt, zeros)
            guidance = Guidance(request.guidance_scale, guidance_window(num_steps))
            return decode(pipeline, denoise(stage, latents, [embeddings], [guidance], [generator], on_latents))

    def _preview_decoder(self) -> torch.Tensor:
        if self._decoder is None:
            self._decoder = fit_linear_decoder(self._parts.vae)
        return self._decoder


def weights_sha256(content: bytes) -> str:
    """Names weights by the bytes of their safetensors file."""
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def _at_work(parts: Any) -> Iterator[None]:
    """Encoders and VAE on the model's device, wherever training had put them."""
    with contextlib.ExitStack() as stack:
        for module in (parts.text_encoder, parts.text_encoder_2, parts.vae):
            stack.enter_context(at_work(module, parts.device))
        yield
