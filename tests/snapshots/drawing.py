"""What an app shows as a picture: letters by a font, blocks and braille as a terminal draws them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from rich.color import blend_rgb
from rich.color_triplet import ColorTriplet
from rich.style import Style
from textual.app import App

CELL = (9, 18)
FONT_SIZE = 15
FONTS = Path("/usr/share/fonts/truetype/dejavu")
DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""Column and row of the dots of braille, by their bits."""


def picture_of(app: App[Any]) -> Image.Image:
    """All rows of the screen in front."""
    width, height = app.size
    image = Image.new("RGB", (width * CELL[0], height * CELL[1]))
    pen = ImageDraw.Draw(image)
    background, foreground = _triplet(app, "background"), _triplet(app, "foreground")
    for y, strip in enumerate(app.screen._compositor.render_strips()):
        x = 0
        for segment in strip:
            colours = _colours(segment.style or Style(), foreground, background)
            for character in segment.text:
                _draw(pen, x, y, character, *colours, bold=bool(segment.style and segment.style.bold))
                x += 1
    return image


def save(image: Image.Image, path: Path) -> None:
    """As a PNG of 256 colours: small, and nobody sees the difference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _triplet(app: App[Any], name: str) -> ColorTriplet:
    colour = app.theme_variables[name].lstrip("#")
    return ColorTriplet(*bytes.fromhex(colour[:6]))


def _colours(style: Style, foreground: ColorTriplet, background: ColorTriplet) -> tuple[ColorTriplet, ColorTriplet]:
    front = style.color.get_truecolor() if style.color is not None and not style.color.is_default else foreground
    back = style.bgcolor.get_truecolor() if style.bgcolor is not None and not style.bgcolor.is_default else background
    if style.reverse:
        front, back = back, front
    return (blend_rgb(back, front, 0.6) if style.dim else front), back


def _draw(pen: ImageDraw.ImageDraw, x: int, y: int, character: str, front: ColorTriplet, back: ColorTriplet, *, bold: bool) -> None:
    left, top, (width, height) = x * CELL[0], y * CELL[1], CELL
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill=back)
    code = ord(character)
    if character == "▀":
        pen.rectangle((left, top, left + width - 1, top + height // 2 - 1), fill=front)
    elif 0x2581 <= code <= 0x2588:
        pen.rectangle((left, top + height - height * (code - 0x2580) // 8, left + width - 1, top + height - 1), fill=front)
    elif 0x2800 <= code <= 0x28FF:
        for bit, (column, row) in enumerate(DOTS):
            if (code - 0x2800) >> bit & 1:
                at = left + 1 + 4 * column, top + 1 + row * height // 4
                pen.rectangle((*at, at[0] + 2, at[1] + 2), fill=front)
    elif character.strip():
        pen.text((left, top), character, fill=front, font=_font(bold))


@lru_cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    path = FONTS / f"DejaVuSansMono{'-Bold' if bold else ''}.ttf"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: apt-get install fonts-dejavu-core")
    return ImageFont.truetype(path, FONT_SIZE)
