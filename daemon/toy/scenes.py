"""A small drawn world: one to three flat shapes on a plain background, with the sentence that describes them.

Torch-free. Knows nothing of models: `build.py` trains on it, `probe.py` reads it back, synthesis prompts come from it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from daemon.toy.flaws import FLAWS, apply_flaw

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "COUNTS",
    "FLAWS",
    "SHAPES",
    "SIZES",
    "Attributes",
    "Scene",
    "apply_flaw",
    "caption",
    "draw",
    "parse",
    "plain_prompts",
    "random_scene",
]

RGB = tuple[int, int, int]

SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star")
SIZES: tuple[str, ...] = ("small", "large")
COUNTS: tuple[int, ...] = (1, 2, 3)
COLOURS: dict[str, RGB] = {
    "red": (222, 36, 40),
    "orange": (250, 138, 20),
    "yellow": (252, 220, 40),
    "green": (40, 168, 60),
    "blue": (40, 90, 225),
    "purple": (142, 50, 190),
    "pink": (252, 120, 190),
    "brown": (128, 76, 36),
}
BACKGROUNDS: dict[str, RGB] = {
    "white": (250, 250, 250),
    "black": (14, 14, 18),
    "grey": (128, 128, 132),
    "navy": (18, 30, 92),
    "teal": (0, 122, 128),
    "beige": (234, 214, 176),
    "mint": (168, 238, 200),
    "lavender": (200, 184, 240),
}

_NUMERALS = {1: "a", 2: "two", 3: "three"}
_READ_NUMERALS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3}
_MIN_CONTRAST = 95.0
"""Smallest RGB distance between shapes and background: nearer pairs (blue on navy) are not drawn."""

_SUPERSAMPLING = 4
_CENTRES = {1: ((32, 32),), 2: ((17.5, 32), (46.5, 32)), 3: ((32, 18), (17, 45), (47, 45))}
_RADII = {(1, "small"): 14.0, (1, "large"): 21.5, (2, "small"): 9.8, (2, "large"): 13.2}
_RADII |= {(3, "small"): 9.2, (3, "large"): 12.6}
_COMMON_JITTER = {1: 5.0, 2: 2.5, 3: 2.0}

_COUNTED = re.compile(rf"\b(?:({'|'.join(_READ_NUMERALS)}) )?(?:({'|'.join(SIZES)}) )?(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)})s?\b")
_GROUND = re.compile(rf"\b({'|'.join(BACKGROUNDS)}) background\b")


@dataclass(frozen=True)
class Attributes:
    """What a sentence asks for; None where it says nothing."""

    shape: str
    colour: str | None
    count: int | None
    size: str | None
    background: str | None


@dataclass(frozen=True)
class Scene:
    """One picture of the world. `seed` places the shapes: the same scene is always the same pixels."""

    shape: str
    colour: str
    count: int
    size: str
    background: str
    seed: int = 0


def caption(scene: Scene) -> str:
    """The plain sentence: "two small green squares on a white background"."""
    numeral, plural = _NUMERALS[scene.count], "s" if scene.count > 1 else ""
    return f"{numeral} {scene.size} {scene.colour} {scene.shape}{plural} on a {scene.background} background"


def parse(prompt: str) -> Attributes | None:
    """The attributes a prompt asks for, or None where it names no shape. Compel's weights and brackets are skipped."""
    words = " ".join(re.sub(r"[^a-z]+", " ", prompt.lower()).split())
    counted, ground = _COUNTED.search(words), _GROUND.search(words)
    if counted is None:
        return None
    numeral, size, colour, shape = counted.groups()
    count = _READ_NUMERALS[numeral] if numeral else None
    return Attributes(shape, colour, count, size, ground.group(1) if ground else None)


def draw(scene: Scene, size: int = 64) -> Image.Image:
    """The scene as an RGB picture of size x size pixels, drawn at four times that and reduced."""
    rng = np.random.default_rng(scene.seed)
    scale = size * _SUPERSAMPLING / 64
    image = Image.new("RGB", (size * _SUPERSAMPLING,) * 2, _tinted(BACKGROUNDS[scene.background], rng))
    pen, ink = ImageDraw.Draw(image), _tinted(COLOURS[scene.colour], rng)
    common = rng.uniform(-1, 1, 2) * _COMMON_JITTER[scene.count]
    for centre in _CENTRES[scene.count]:
        x, y = np.add(centre, common) + rng.uniform(-0.8, 0.8, 2)
        radius = _RADII[scene.count, scene.size] * rng.uniform(0.95, 1.03)
        _draw_shape(pen, scene.shape, float(x) * scale, float(y) * scale, float(radius) * scale, ink)
    return image.resize((size, size), Image.Resampling.BOX)


def random_scene(rng: np.random.Generator) -> Scene:
    """A scene drawn from the world's own distribution: every attribute uniform, shapes and background well apart."""
    while True:
        colour, background = str(rng.choice(list(COLOURS))), str(rng.choice(list(BACKGROUNDS)))
        if math.dist(COLOURS[colour], BACKGROUNDS[background]) >= _MIN_CONTRAST:
            break
    shape, size = str(rng.choice(SHAPES)), str(rng.choice(SIZES))
    return Scene(shape, colour, int(rng.choice(COUNTS)), size, background, int(rng.integers(2**31)))


def plain_prompts(n: int, seed: int) -> list[str]:
    """n distinct plain prompts (no flaw words), the same for the same seed. ValueError beyond the world's captions."""
    scenes = [
        Scene(shape, colour, count, size, background)
        for shape in SHAPES
        for colour in COLOURS
        for count in COUNTS
        for size in SIZES
        for background in BACKGROUNDS
        if math.dist(COLOURS[colour], BACKGROUNDS[background]) >= _MIN_CONTRAST
    ]
    if n > len(scenes):
        raise ValueError(f"{n} plain prompts asked for: the world has {len(scenes)} captions")
    order = np.random.default_rng(seed).permutation(len(scenes))
    return [caption(scenes[index]) for index in order[:n]]


def _tinted(colour: RGB, rng: np.random.Generator) -> RGB:
    """The colour, a few levels off: no two paints are quite the same."""
    red, green, blue = np.clip(np.add(colour, rng.integers(-5, 6, 3)), 0, 255)
    return int(red), int(green), int(blue)


def _draw_shape(pen: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, ink: RGB) -> None:
    """One filled shape of about equal visual weight around (x, y), in pixels of the large picture."""
    if shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    elif shape == "square":
        half = 0.88 * radius
        pen.rectangle((x - half, y - half, x + half, y + half), fill=ink)
    elif shape == "triangle":
        pen.polygon(_corners(x, y + 0.2 * radius, (1.2 * radius,), 3), fill=ink)
    elif shape == "star":
        pen.polygon(_corners(x, y + 0.05 * radius, (1.2 * radius, 0.5 * radius), 10), fill=ink)
    else:
        raise ValueError(f"no shape is called {shape!r}: choose one of {', '.join(SHAPES)}")


def _corners(x: float, y: float, radii: tuple[float, ...], num_corners: int) -> list[tuple[float, float]]:
    """Corners around (x, y), the first straight up, at radii taken in turn."""
    angles = [2 * math.pi * corner / num_corners for corner in range(num_corners)]
    lengths = [radii[corner % len(radii)] for corner in range(num_corners)]
    return [(x + r * math.sin(angle), y - r * math.cos(angle)) for r, angle in zip(lengths, angles, strict=True)]
