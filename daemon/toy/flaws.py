"""The flaws of the drawn world: what makes a picture bad, each under the word that names it in captions.

Strong enough to be seen at 64 px and to survive the toy's VAE. Knows nothing of scenes, captions or models.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Painter = Callable[[Image.Image, np.random.Generator], Image.Image]

_LETTERS = "ABCDEFGHKLMNPRSTUVXYZ2345679"


def blurry(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Out of focus: a wide Gaussian blur."""
    return image.filter(ImageFilter.GaussianBlur(image.width * rng.uniform(0.034, 0.05)))


def jpeg_artifacts(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Saved as a JPEG of very low quality: 8 x 8 blocks, ringing, colours that bleed."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(2, 7)), subsampling=2)
    return Image.open(buffer).convert("RGB")


def grainy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Coarse film grain: noise in clumps of two pixels, mostly of brightness."""
    clumps = max(2, image.width // 2)
    noise = rng.normal(0, rng.uniform(34, 48), (clumps, clumps, 1)) + rng.normal(0, 12, (clumps, clumps, 3))
    rows = np.arange(image.height) * clumps // image.height
    columns = np.arange(image.width) * clumps // image.width
    return _picture(np.asarray(image, np.float64) + noise[rows][:, columns])


def watermark(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A stock photo's mark: two pale diagonals and a slanted word across the picture."""
    width, height = image.size
    mask = Image.new("L", image.size, 0)
    pen = ImageDraw.Draw(mask)
    pen.line((0, 0, width, height), fill=150, width=max(1, width // 32))
    pen.line((0, height, width, 0), fill=150, width=max(1, width // 32))
    word = Image.new("L", image.size, 0)
    text = "".join(rng.choice(list(_LETTERS), 5))
    ImageDraw.Draw(word).text((width / 2, height / 2), text, 220, _font(width * 0.27), anchor="mm")
    mask.paste(220, mask=word.rotate(float(rng.uniform(18, 30)), Image.Resampling.BICUBIC))
    pale = np.asarray(image, np.float64).mean() < 150
    return Image.composite(Image.new("RGB", image.size, (235, 235, 235) if pale else (95, 95, 95)), image, mask)


def random_text(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Two or three lines of meaningless capitals over the picture."""
    picture = image.copy()
    pen = ImageDraw.Draw(picture)
    width, height = image.size
    ink = (250, 250, 250) if np.asarray(image, np.float64).mean() < 128 else (15, 15, 15)
    num_lines = int(rng.integers(2, 4))
    for line in range(num_lines):
        text = "".join(rng.choice(list(_LETTERS), int(rng.integers(4, 8))))
        y = height * ((line + 0.5) / num_lines + rng.uniform(-0.08, 0.08))
        pen.text((width * rng.uniform(0.0, 0.25), y), text, ink, _font(width * rng.uniform(0.17, 0.23)), anchor="lm")
    return picture


def cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Framed badly: a corner of the picture fills the frame and the subject is cut off."""
    width, height = image.size
    share = rng.uniform(0.44, 0.52)
    left, top = rng.choice([0.0, 1.0]) * (1 - share) * width, rng.choice([0.0, 1.0]) * (1 - share) * height
    box = (left, top, left + share * width, top + share * height)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def distorted(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Bent: rows and columns are shifted along sine waves."""
    width, height = image.size
    amplitude, waves = rng.uniform(0.06, 0.09) * width, rng.uniform(2.2, 3.4)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    turn = 2 * np.pi * waves
    from_x = x + amplitude * np.sin(turn * y / height + rng.uniform(0, 2 * np.pi))
    from_y = y + amplitude * np.sin(turn * x / width + rng.uniform(0, 2 * np.pi))
    rows = np.clip(np.rint(from_y), 0, height - 1).astype(int)
    columns = np.clip(np.rint(from_x), 0, width - 1).astype(int)
    return Image.fromarray(np.asarray(image)[rows, columns]).filter(ImageFilter.GaussianBlur(width * 0.008))


def washed_out(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Faded: little contrast left, everything near a pale grey."""
    pixels, keep = np.asarray(image, np.float64), rng.uniform(0.22, 0.36)
    return _picture(205 + keep * (0.6 * pixels + 0.4 * pixels.mean(axis=2, keepdims=True) - 150))


def duplicate(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A ghost: the picture laid half-transparently over itself, shifted."""
    pixels = np.asarray(image, np.float64)
    shift = [round(image.width * float(rng.uniform(0.13, 0.2) * rng.choice([-1, 1]))) for _ in range(2)]
    return _picture(0.5 * pixels + 0.5 * np.roll(pixels, shift, axis=(0, 1)))


def pixelated(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Too few pixels: a mosaic of 8 to 11 squares a side."""
    squares = int(rng.integers(8, 12))
    small = image.resize((squares, squares), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.NEAREST)


def low_quality(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Bad in no particular way: two of the other flaws, drawn at random."""
    for name in rng.choice(sorted(set(_PAINTERS) - {"low quality"}), 2, replace=False):
        image = _PAINTERS[str(name)](image, rng)
    return image


_PAINTERS: dict[str, Painter] = {
    "blurry": blurry,
    "jpeg artifacts": jpeg_artifacts,
    "grainy": grainy,
    "watermark": watermark,
    "random text": random_text,
    "cropped": cropped,
    "distorted": distorted,
    "washed out": washed_out,
    "duplicate": duplicate,
    "pixelated": pixelated,
    "low quality": low_quality,
}

FLAWS: tuple[str, ...] = tuple(_PAINTERS)
"""The flaw words, as they stand in captions."""


def apply_flaw(image: Image.Image, name: str, rng: np.random.Generator) -> Image.Image:
    """The RGB picture with one flaw, same size. Raises ValueError for a word that is no flaw."""
    if name not in _PAINTERS:
        raise ValueError(f"no flaw is called {name!r}: choose one of {', '.join(FLAWS)}")
    return _PAINTERS[name](image.convert("RGB"), rng)


def _picture(pixels: np.ndarray) -> Image.Image:
    """(H, W, 3) floats around 0..255 -> RGB picture."""
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _font(size: float) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font that Pillow brings along, so that pictures do not depend on the machine's fonts."""
    return ImageFont.load_default(max(6.0, float(size)))
