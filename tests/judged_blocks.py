"""A comparison's blocks for tests of voting: every picture has an id and a hash of its own, unless told otherwise."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path

from PIL import Image

from daemon.manifest import write_manifest
from daemon.protocol.results import ComparedBlock, ComparedCell
from daemon.protocol.specs import ImageRecord, ImageRequest

ARMS = ("baseline", "placebo", "target")


def image(prompt: str, seed: int, arm: str, content: str = "") -> ImageRecord:
    """`content` decides the hash; empty: a picture of its own."""
    request = ImageRequest(
        base_sha256="b", torch_dtype="float32", prompt=prompt, seed=seed, guidance_scale=5, num_inference_steps=4, width=64, height=64
    )
    id = hashlib.sha256(f"{prompt} {seed} {arm}".encode()).hexdigest()[:32]
    sha256 = hashlib.sha256((content or id).encode()).hexdigest()
    return ImageRecord(id=id, path=f"comparisons/images/{id}.png", sha256=sha256, request=request, arm=arm)


def blocks(
    num_prompts: int, num_seeds: int = 1, arms: Sequence[str] = ARMS, same: Collection[tuple[int, str]] = ()
) -> tuple[ComparedBlock, ...]:
    """`same`: (block's index, arm) whose picture is that of every other cell named so in its block."""
    made = []
    for index in range(num_prompts * num_seeds):
        prompt, seed = f"a scene {index // num_seeds}", index % num_seeds
        cells = tuple(ComparedCell(image=image(prompt, seed, arm, f"same {index}" if (index, arm) in same else "")) for arm in arms)
        made.append(ComparedBlock(index=index, prompt=prompt, seed=seed, cells=cells))
    return tuple(made)


def write_comparison(folder: Path, found: Sequence[ComparedBlock], arms: Sequence[str] = ARMS) -> None:
    """The files of a finished comparison in a session's `comparisons/NAME/`, with its pictures beside it."""
    cells = [(block, arm, cell.image) for block in found for arm, cell in zip(arms, block.cells, strict=True)]
    write_manifest(folder / "manifest.jsonl", [image for _, _, image in cells])
    with (folder / "metrics.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("block", "prompt", "seed", "arm", "image", "sharpness"))
        rows.writerows((block.index, block.prompt, block.seed, arm, image.id, 1.0) for block, arm, image in cells)
    for _, _, image in cells:
        path = folder.parent / "images" / f"{image.id}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), f"#{image.sha256[:6]}").save(path)
    summary = {"name": folder.name, "verdict": "", "means": {}, "effects": [], "sheet_paths": [], "num_blocks": len(found)}
    (folder / "summary.json").write_text(json.dumps(summary))
