"""A block of the three arms through the engine, against doing them one after another with plain diffusers, as the notebook does.

    python tests/bench/comparison_speed.py                  # the toy on the CPU
    python tests/bench/comparison_speed.py --gpu FOLDER     # full-size SDXL of random weights, 1024 px, eager and compiled

Both have the same weights in memory, and take turns block by block. The plain way has its pipelines and the adapter loaded once; for
each arm it sets the adapter, encodes the prompts, denoises with base and refiner, decodes. Prints ratios of the time per block, what is
neither UNet nor VAE in it, and how far the pictures differ. Nothing is left out of either: no step is skipped, no feature cached. On the
CPU time is that of the processor, which other programs do not lengthen.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from daemon.engine.models import LocalEngine, create_engine
from daemon.engine.residents import TOGETHER_VARIABLE
from daemon.protocol.specs import AdapterRequest, ImageRequest, ModelSpec
from daemon.toy import BASE_PATH, DENOISING_SPLIT, GUIDANCE_SCALE, NUM_INFERENCE_STEPS, REFINER_PATH, SIZE
from daemon.toy.scenes import plain_prompts

WORD = "wrong"


class Stopwatch:
    """Seconds spent in the calls of some modules: on the CPU of this process's own time, which other programs do not lengthen."""

    def __init__(self, device: str) -> None:
        self.seconds = 0.0
        self._device = device
        self._begun = 0.0

    def now(self) -> float:
        if self._device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def watching(self, unets: Sequence[Any], vaes: Sequence[Any]) -> Iterator[None]:
        """UNets by hooks, the VAE's `decode` by standing in for it."""
        hooks = []
        for unet in unets:
            hooks += [unet.register_forward_pre_hook(self._begin), unet.register_forward_hook(self._end)]
        for vae in vaes:
            vae.decode = self._timed(vae.decode)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for vae in vaes:
                del vae.decode

    def _begin(self, *_: Any) -> None:
        self._begun = self.now()

    def _end(self, *_: Any) -> None:
        self.seconds += self.now() - self._begun

    def _timed(self, decode: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            begun = self.now()
            found = decode(*arguments, **options)
            self.seconds += self.now() - begun
            return found

        return timed


class Plain:
    """Woolf's way: diffusers' pipelines, one arm after another."""

    def __init__(self, model: ModelSpec, adapter_path: Path, device: str, dtype: torch.dtype) -> None:
        load = {"torch_dtype": dtype, "add_watermarker": False}
        self.base = StableDiffusionXLPipeline.from_pretrained(model.base, **load).to(device)
        shared = {"text_encoder_2": self.base.text_encoder_2, "vae": self.base.vae}
        self.refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(str(model.refiner), **shared, **load).to(device)
        for pipeline in (self.base, self.refiner):
            pipeline.set_progress_bar_config(disable=True)
        self.base.load_lora_weights(str(adapter_path.parent), weight_name=adapter_path.name, adapter_name="negative")

    @property
    def modules(self) -> tuple[list[Any], list[Any]]:
        return [self.base.unet, self.refiner.unet], [self.base.vae]

    def paint(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        return [self._paint(request) for request in requests]

    def _paint(self, request: ImageRequest) -> Image.Image:
        if request.adapters:
            self.base.enable_lora()
            self.base.set_adapters(["negative"], [request.adapters[0].weight])
        else:
            self.base.disable_lora()
        shared: dict[str, Any] = {
            "prompt": request.prompt, "negative_prompt": request.negative_prompt, "num_inference_steps": request.num_inference_steps,
            "guidance_scale": request.guidance_scale, "generator": torch.Generator("cpu").manual_seed(request.seed),
        }  # fmt: skip
        size = {"width": request.width, "height": request.height}
        latents = self.base(**shared, **size, denoising_end=request.denoising_split, output_type="latent").images
        found: Image.Image = self.refiner(**shared, image=latents, denoising_start=request.denoising_split).images[0]
        return found


class Ours:
    """The engine's way of a block: as it has it on this device, or so many pictures together."""

    def __init__(self, engine: LocalEngine, model: ModelSpec, together: int | None = None) -> None:
        self._engine, self._model, self._together = engine, model, together
        engine.hold(model)

    @property
    def modules(self) -> tuple[list[Any], list[Any]]:
        residents, sources = self._engine._loaded(), self._engine._sources(self._model)
        base, refiner = residents.parts(sources, "base"), residents.parts(sources, "refiner")
        return [base["unet"], refiner["unet"]], list({id(part): part for part in (base["vae"], refiner["vae"])}.values())

    def paint(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        os.environ.pop(TOGETHER_VARIABLE, None)
        if self._together is not None:
            os.environ[TOGETHER_VARIABLE] = str(self._together)
        found = dict(self._engine.paint_block(self._model, requests))
        return [found[number] for number in range(len(requests))]


def measure(ways: dict[str, Any], blocks: Sequence[Sequence[ImageRequest]], device: str) -> dict[str, Any]:
    """Every block by every way, turn about: seconds, share outside of UNet and VAE, and pixels' differences from the first way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    shares: dict[str, list[float]] = {name: [] for name in ways}
    differences: dict[str, list[int]] = {name: [] for name in ways}
    for block in blocks:
        pictures = {}
        for name, way in ways.items():
            watch = Stopwatch(device)
            with watch.watching(*way.modules):
                begun = watch.now()
                pictures[name] = way.paint(block)
                taken = watch.now() - begun
            seconds[name].append(taken)
            shares[name].append(1 - watch.seconds / taken)
        plain = next(iter(pictures.values()))
        for name, images in pictures.items():
            differences[name] += [_difference(one, other) for one, other in zip(plain, images, strict=True)]
    return {"seconds": seconds, "shares": shares, "differences": differences}


def table(found: dict[str, Any], plain: str) -> str:
    """A Markdown row a way: seconds per block, how many times as fast as the plain way, the rest."""
    titles = ["", "s per block of three arms", "times as fast", "neither UNet nor VAE", "largest difference of a pixel, of 255"]
    lines = [f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}"]
    for name, seconds in found["seconds"].items():
        ratios = [one / other for one, other in zip(found["seconds"][plain], seconds, strict=True)]
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        ratio = "" if name == plain else f"**{middle:.2f}x** [{low:.2f}, {high:.2f}]"
        share = f"{100 * statistics.median(found['shares'][name]):.1f} %"
        difference = "" if name == plain else str(max(found["differences"][name]))
        lines.append(f"| {name} | {statistics.median(seconds):.3f} | {ratio} | {share} | {difference} |")
    return "\n".join(lines)


def make_adapter(engine: LocalEngine, model: ModelSpec, path: Path) -> Path:
    """A rank-4 LoRA of small random weights on the base's attention."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    with engine.borrow_training_parts(model) as parts:
        parts.unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
        generator = torch.Generator("cpu").manual_seed(0)
        weights = get_peft_model_state_dict(parts.unet)
        drawn = {name: 0.02 * torch.randn(weight.shape, generator=generator) for name, weight in sorted(weights.items())}
    StableDiffusionXLPipeline.save_lora_weights(path, unet_lora_layers=drawn)
    return path / "pytorch_lora_weights.safetensors"


def make_blocks(
    engine: LocalEngine, model: ModelSpec, adapter_path: Path, given: argparse.Namespace, settings: dict[str, Any]
) -> list[list[ImageRequest]]:
    identity = engine.identify(model)
    use = (AdapterRequest(sha256=engine.offer_adapter(adapter_path), weight=1.0),)
    arms: list[dict[str, Any]] = [{}, {"negative_prompt": WORD}, {"negative_prompt": WORD, "adapters": use}]
    shared: dict[str, Any] = {
        "base_sha256": identity.base_sha256, "refiner_sha256": identity.refiner_sha256, "torch_dtype": identity.torch_dtype,
        "denoising_split": DENOISING_SPLIT, **settings,
    }  # fmt: skip
    prompts = plain_prompts(given.blocks + 1, seed=7)
    return [[ImageRequest(prompt=prompt, seed=seed, **shared, **arm) for arm in arms] for seed, prompt in enumerate(prompts)]


def _difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=12, help="measured ones; one more goes before them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gpu", type=Path, metavar="FOLDER", help="full-size SDXL on CUDA, its weights written into FOLDER")
    parser.add_argument("--compile", metavar="BACKEND", help="torch.compile's, for our UNets; inductor after the eager run with --gpu")
    given = parser.parse_args()
    if given.gpu is not None and not torch.cuda.is_available():
        raise SystemExit("--gpu needs CUDA, and torch finds none.")
    torch.set_num_threads(given.threads)
    device = "cpu" if given.gpu is None else "cuda"
    with tempfile.TemporaryDirectory(prefix="negtui-bench-") as name:
        folder = Path(name)
        if given.gpu is None:
            model = ModelSpec(base=str(BASE_PATH), refiner=str(REFINER_PATH), torch_dtype="float32", device="cpu")
            settings = {"width": SIZE, "height": SIZE, "num_inference_steps": NUM_INFERENCE_STEPS, "guidance_scale": GUIDANCE_SCALE}
        else:
            from full_size import write_random_model

            model = write_random_model(given.gpu)
            settings = {"width": 1024, "height": 1024, "num_inference_steps": 50, "guidance_scale": 13.0}
        engine = create_engine(folder / "cache")
        adapter_path = make_adapter(engine, model, folder / "adapter")
        blocks = make_blocks(engine, model, adapter_path, given, settings)
        dtype = torch.float32 if device == "cpu" else torch.float16
        ways: dict[str, Any] = {
            "one after another, plain diffusers": Plain(model, adapter_path, device, dtype),
            "negtui": Ours(engine, model),
        }
        if device == "cpu":
            ways["negtui, the three together"] = Ours(engine, model, len(blocks[0]))
        for backend in dict.fromkeys((None, given.compile or ("inductor" if device == "cuda" else None))):
            if backend is not None:
                for unet in ways["negtui"].modules[0]:
                    unet.compile(backend=backend)
            measure(ways, blocks[:1], device)
            found = measure(ways, blocks[1:], device)
            print(f"\n{'eager' if backend is None else f'ours compiled ({backend})'}\n\n" + table(found, next(iter(ways))), flush=True)
        engine.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
