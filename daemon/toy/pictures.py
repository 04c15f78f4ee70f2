"""The training pictures on disk: drawn once, with their captions, as numpy arrays and JSON. Torch-free."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from daemon.toy import SIZE
from daemon.toy.captions import random_flaws, training_caption
from daemon.toy.scenes import Scene, apply_flaw, draw, random_scene


def painted(seed: int, *, flawed_share: float = 0.4) -> tuple[np.ndarray, Scene, tuple[str, ...], str]:
    """One training picture (64, 64, 3) uint8, its scene, its flaws and its caption, all from one seed."""
    rng = np.random.default_rng(seed)
    scene, flaws = random_scene(rng), random_flaws(rng, flawed_share)
    image = draw(scene, SIZE)
    for name in flaws:
        image = apply_flaw(image, name, rng)
    return np.asarray(image), scene, flaws, training_caption(scene, flaws, rng)


def write_pictures(folder: Path, num_pictures: int, seed: int) -> None:
    """`pictures.npy` (N, 64, 64, 3) uint8 and `captions.json` [{caption, flaws, scene}, ...]; kept where complete."""
    captions_path = folder / "captions.json"
    if captions_path.exists() and len(json.loads(captions_path.read_text("utf-8"))) == num_pictures:
        return
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.lib.format.open_memmap(folder / "pictures.npy", mode="w+", dtype=np.uint8, shape=(num_pictures, SIZE, SIZE, 3))
    rows = []
    for index in range(num_pictures):
        pixels[index], scene, flaws, caption = painted(seed * 10_000_000 + index)
        rows.append({"caption": caption, "flaws": list(flaws), "scene": asdict(scene)})
    pixels.flush()
    beside = captions_path.with_suffix(".part")
    beside.write_text(json.dumps(rows), encoding="utf-8")
    beside.replace(captions_path)


def read_pictures(folder: Path) -> tuple[np.ndarray, list[dict]]:
    """The pictures (memory-mapped) and their captions' rows."""
    pixels = np.load(folder / "pictures.npy", mmap_mode="r", allow_pickle=False)
    return pixels, json.loads((folder / "captions.json").read_text("utf-8"))
