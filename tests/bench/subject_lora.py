"""A subject the toy has never seen, learned from eight pictures: read as what it is before and after, with and without preservation.

    python tests/bench/subject_lora.py [--num-pictures 64] [--sheet docs/toy/subject.png]

The subject is a cross in eight colours on white, its prompt "a zwx on a white background" (the toy's tokenizer spells `zwx` in letters that
no caption used). Each arm is trained by the product's own recipe and painted by its own engine, base alone, guidance scale 3.

A picture is read without any network: the outline that stands out from its corners is brought to one size and laid over the outlines of the
five shapes, drawn; it is read as the one with the highest intersection over union, and as nothing below 0.6. What the reader makes of
drawn pictures that went through the toy's VAE is printed first: better than that no arm can be.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from daemon.engine.models import LocalEngine, create_engine
from daemon.protocol.specs import AdapterRequest, ImageRequest, ModelSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.recipe import JobContext
from daemon.toy import GUIDANCE_SCALE, NUM_INFERENCE_STEPS, SIZE
from daemon.toy.evaluate import sheet
from daemon.toy.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene, caption, draw

SUBJECT = "cross"
INSTANCE_PROMPT = "a zwx on a white background"
OTHER_PROMPT = "a zwx on a {} background"
CLASS_PROMPT = "a circle on a white background"
MIN_OVERLAP = 0.6

COMMON = TrainingSpec(
    instance_prompt=INSTANCE_PROMPT, resolution=SIZE, rank=16, learning_rate=1e-3, max_train_steps=400, train_batch_size=4,
    gradient_accumulation_steps=1, checkpointing_steps=1000, seed=0,
)  # fmt: skip
PRESERVED = tuple(f"a {colour} {shape} on a {ground} background" for shape, colour, ground in zip(
    SHAPES * 4, list(COLOURS) * 2, list(BACKGROUNDS)[::-1] * 2, strict=True))  # fmt: skip
ARMS: dict[str, dict[str, Any]] = {
    "before": {},
    "after": {"output_name": "plain"},
    "after, prior preservation": {
        "output_name": "prior", "with_prior_preservation": True, "class_prompt": CLASS_PROMPT, "num_class_images": 32,
    },
    "after, adapter-off preservation": {"output_name": "off", "preservation_weight": 1.0, "preservation_prompts": PRESERVED},
}  # fmt: skip


def cross(seed: int, colour: str, background: str, size: int = SIZE) -> Image.Image:
    """One cross as the toy's world draws its shapes: jittered, tinted, drawn at four times the size."""
    rng, scale = np.random.default_rng(seed), 4 * size / 64
    tints = (np.clip(np.add(rgb, rng.integers(-5, 6, 3)), 0, 255) for rgb in (BACKGROUNDS[background], COLOURS[colour]))
    ground, ink = (tuple(int(level) for level in tint) for tint in tints)
    image = Image.new("RGB", (size * 4,) * 2, ground)
    x, y = 32 + rng.uniform(-5, 5, 2)
    radius = 20 * rng.uniform(0.9, 1.05)
    pen = ImageDraw.Draw(image)
    for width, height in ((radius, radius / 3), (radius / 3, radius)):
        pen.rectangle([scale * v for v in (x - width, y - height, x + width, y + height)], fill=ink)
    return image.resize((size, size), Image.Resampling.BOX)


def outline(image: Image.Image) -> np.ndarray[Any, Any] | None:
    """What stands out from the corners, cut out and brought to 32 x 32: bool; None where nothing of a shape's size does."""
    pixels = np.asarray(image.convert("RGB"), np.float64)
    corners = np.concatenate([pixels[:4, :4], pixels[:4, -4:], pixels[-4:, :4], pixels[-4:, -4:]]).reshape(-1, 3)
    distance = np.linalg.norm(pixels - np.median(corners, axis=0), axis=-1)
    mask = distance > max(40.0, 0.5 * np.quantile(distance, 0.98))
    rows, columns = np.flatnonzero(mask.mean(1) > 0.04), np.flatnonzero(mask.mean(0) > 0.04)
    if not 0.02 < mask.mean() < 0.6 or not len(rows) or not len(columns):
        return None
    cut = Image.fromarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return np.asarray(cut.convert("L").resize((32, 32), Image.Resampling.BOX)) > 127


def overlap(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())


class Reader:
    """Which of the five shapes a picture of one shape shows."""

    def __init__(self) -> None:
        drawn = {shape: draw(Scene(shape, "blue", 1, "large", "white")) for shape in SHAPES} | {SUBJECT: cross(0, "blue", "white")}
        self._outlines = {shape: found for shape, image in drawn.items() if (found := outline(image)) is not None}

    def read(self, image: Image.Image) -> tuple[str, float]:
        """(shape or "nothing", the highest overlap)."""
        found = outline(image)
        if found is None:
            return "nothing", 0.0
        best = max(self._outlines, key=lambda shape: overlap(found, self._outlines[shape]))
        value = overlap(found, self._outlines[best])
        return (best if value >= MIN_OVERLAP else "nothing"), value

    def subject_overlap(self, image: Image.Image) -> float:
        """Intersection over union with the drawn cross."""
        found = outline(image)
        return 0.0 if found is None else overlap(found, self._outlines[SUBJECT])


def drawn_accuracy(reader: Reader, engine: LocalEngine, model: ModelSpec, num_pictures: int) -> float:
    """Share of drawn pictures, through the toy's VAE and back, that are read as what they are."""
    import torch

    pairs = _apart()
    rng = np.random.default_rng(5)
    right = 0
    vae = engine.training_parts(model).vae
    for index in range(num_pictures):
        colour, ground = pairs[int(rng.integers(len(pairs)))]
        shape = [*SHAPES, SUBJECT][index % 5]
        scene = Scene(shape, colour, 1, ("small", "large")[index % 2], ground, index)
        image = cross(index, colour, ground) if shape == SUBJECT else draw(scene)
        pixels = torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.inference_mode():
            decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample[0].clamp(-1, 1)
        shown = Image.fromarray(((decoded.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8))
        right += reader.read(shown)[0] == shape
    return right / num_pictures


def train(folder: Path, engine: LocalEngine, model: ModelSpec, changes: dict[str, Any]) -> AdapterRequest:
    """Train an arm in a session of its own; the adapter as a request names it."""
    from daemon.training.recipe import train as recipe

    spec = msgspec.structs.replace(COMMON, **changes)
    session_path = folder / spec.output_name
    (session_path / "dataset").mkdir(parents=True)
    for index, colour in enumerate(COLOURS):
        if math.dist(COLOURS[colour], BACKGROUNDS["white"]) > 95:
            cross(100 + index, colour, "white").save(session_path / "dataset" / f"{index}.png")
    context = JobContext(job_id="bench", session=spec.output_name, session_path=session_path, engine=engine)
    for _ in recipe(TrainJob(session=spec.output_name, model=model, training=spec), context):
        pass
    path = session_path / "adapters" / spec.output_name / "pytorch_lora_weights.safetensors"
    return AdapterRequest(sha256=engine.offer_adapter(path), weight=1.0)


def painter(engine: LocalEngine, model: ModelSpec, adapters: tuple[AdapterRequest, ...]) -> Callable[[str, int], Image.Image]:
    identity = engine.identify(model)

    def paint(prompt: str, seed: int) -> Image.Image:
        request = ImageRequest(
            base_sha256=identity.base_sha256, torch_dtype=identity.torch_dtype, adapters=adapters, prompt=prompt, seed=seed,
            guidance_scale=GUIDANCE_SCALE, num_inference_steps=NUM_INFERENCE_STEPS, width=SIZE, height=SIZE,
        )  # fmt: skip
        return engine.paint(model, request)

    return paint


def questions(num_pictures: int) -> dict[str, list[tuple[str, str]]]:
    """Prompts and the shape that each asks for."""
    pairs, grounds = _apart(), [ground for ground in BACKGROUNDS if ground != "white"]
    rng = np.random.default_rng(11)
    known = []
    for index in range(num_pictures):
        colour, ground = pairs[int(rng.integers(len(pairs)))]
        shape = SHAPES[index % len(SHAPES)]
        known.append((caption(Scene(shape, colour, 1, "large", ground)), shape))
    return {
        "zwx on white": [(INSTANCE_PROMPT, SUBJECT)] * num_pictures,
        "zwx on other grounds": [(OTHER_PROMPT.format(grounds[i % len(grounds)]), SUBJECT) for i in range(num_pictures)],
        "known shapes": known,
    }


def share(values: Sequence[bool]) -> str:
    """A share with its standard error."""
    mean = sum(values) / len(values)
    return f"{100 * mean:.0f} % (± {100 * math.sqrt(mean * (1 - mean) / len(values)):.0f})"


def measure(reader: Reader, paint: Callable[[str, int], Image.Image], num_pictures: int) -> tuple[list[str], list[Image.Image]]:
    """An arm's figures, and four pictures for each question."""
    cells, shown = [], []
    for asked in questions(num_pictures).values():
        images = [paint(prompt, 1000 + index) for index, (prompt, _) in enumerate(asked)]
        read = [reader.read(image)[0] for image in images]
        cells.append(share([found == shape for found, (_, shape) in zip(read, asked, strict=True)]))
        if asked[0][1] == SUBJECT and asked[0] == asked[-1]:
            cells.append(f"{np.mean([reader.subject_overlap(image) for image in images]):.2f}")
        if asked[0][1] != SUBJECT:
            cells.append(share([found == SUBJECT for found in read]))
        shown += images[:4]
    return cells, shown


def _apart() -> list[tuple[str, str]]:
    """Colours and backgrounds that the toy's world puts together."""
    return [(c, b) for c in COLOURS for b in BACKGROUNDS if math.dist(COLOURS[c], BACKGROUNDS[b]) >= 95]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-pictures", type=int, default=64, help="for each question and arm")
    parser.add_argument("--model", default="toy", help="a base trained on the toy's world")
    parser.add_argument("--arm", choices=list(ARMS), action="append")
    parser.add_argument("--sheet", type=Path, metavar="PNG")
    given = parser.parse_args()
    reader, rows, model = Reader(), [], ModelSpec(base=given.model)
    with tempfile.TemporaryDirectory(prefix="negtui-bench-") as name:
        engine = create_engine(Path(name) / "cache")
        print(f"drawn pictures through the VAE, read as what they are: {100 * drawn_accuracy(reader, engine, model, 200):.0f} %\n")
        titles = ["", "zwx on white: cross", "overlap", "zwx on other grounds: cross", "known shapes: right", "known shapes: cross instead"]
        print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}", flush=True)
        for arm in given.arm or ARMS:
            adapters = (train(Path(name), engine, model, ARMS[arm]),) if ARMS[arm] else ()
            cells, shown = measure(reader, painter(engine, model, adapters), given.num_pictures)
            print(f"| {' | '.join([arm, *cells])} |", flush=True)
            rows.append((arm, shown))
    if given.sheet is not None:
        learned = [cross(100 + index, colour, "white") for index, colour in enumerate(COLOURS)][:12]
        learned += [Image.new("RGB", (SIZE, SIZE), "white")] * (12 - len(learned))
        images = [*learned, *(image for _, shown in rows for image in shown)]
        captions = ["the pictures learned from", *(f"{arm}: zwx on white, on other grounds, known shapes" for arm, _ in rows)]
        sheet(images, 12, captions).quantize(256).save(given.sheet, optimize=True)


if __name__ == "__main__":
    main()
