"""Terminals made of Pillow: read what a program writes and show the pixels a person would see. Kitty placeholders, sixel, half-blocks."""

from __future__ import annotations

import asyncio
import base64
import functools
import io
import re
import unicodedata
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from textual import events
from textual.driver import Driver
from textual.geometry import Size

from negtui.pixels.kitty import MARKS, PLACEHOLDER

TOKEN = re.compile(
    rb"\x1bPtmux;(?P<tmux>(?:[^\x1b]|\x1b\x1b)*)\x1b\\"
    rb"|\x1b_(?P<apc>[^\x1b]*)\x1b\\"
    rb"|\x1bP(?P<dcs>(?:[^\x1b]|\x1b(?!\\))*)\x1b\\"
    rb"|\x1b\[(?P<csi>[0-?]*[ -/]*[@-~])"
    rb"|\x1b(?P<esc>[0-Z^-~])",
    re.DOTALL,
)
RGB = tuple[int, int, int]


@dataclass
class Cell:
    text: str = " "
    foreground: RGB | None = None
    background: RGB | None = None


@dataclass
class FakeTerminal:
    """`feed` it bytes; `picture()` is what it shows. `answers` are what it would have answered."""

    columns: int = 80
    rows: int = 24
    cell: tuple[int, int] = (10, 20)
    graphics: bool = True
    images: dict[int, Image.Image] = field(default_factory=dict)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    num_bytes: int = 0
    answers: list[bytes] = field(default_factory=list)
    sixels: int = 0

    def __post_init__(self) -> None:
        self.cells = [[Cell() for _ in range(self.columns)] for _ in range(self.rows)]
        self.canvas = Image.new("RGBA", (self.columns * self.cell[0], self.rows * self.cell[1]))
        self.x = self.y = 0
        self.saved = (0, 0)
        self.foreground: RGB | None = None
        self.background: RGB | None = None
        self._loading: tuple[int, bytearray] | None = None

    def feed(self, content: bytes) -> None:
        self.num_bytes += len(content)
        position = 0
        for token in TOKEN.finditer(content):
            self._text(content[position : token.start()].decode("utf-8"))
            position = token.end()
            if token["apc"] is not None and token["apc"].startswith(b"G"):
                self._kitty(token["apc"][1:])
            elif token["tmux"] is not None:
                inner = token["tmux"].replace(b"\x1b\x1b", b"\x1b")
                self.feed(inner)
                self.num_bytes -= len(inner)
            elif token["dcs"] is not None:
                self._dcs(token["dcs"])
            elif token["csi"] is not None:
                self._csi(token["csi"].decode())
            elif token["esc"] is not None:
                self._escape(token["esc"].decode())
        self._text(content[position:].decode("utf-8"))

    def lose_pictures(self) -> None:
        """As after detaching from tmux and attaching elsewhere."""
        self.images.clear()
        self.places.clear()

    def picture(self, left: int = 0, top: int = 0, columns: int | None = None, rows: int | None = None) -> Image.Image:
        """The pixels of a part of the screen, in cells; letters are not drawn."""
        width, height = self.cell
        shown = Image.new("RGB", self.canvas.size)
        scaled: dict[int, Image.Image] = {}
        for y, line in enumerate(self.cells):
            for x, cell in enumerate(line):
                self._draw_cell(shown, x, y, cell, scaled)
        shown.paste(self.canvas, mask=self.canvas.getchannel("A"))
        right, bottom = left + (columns or self.columns - left), top + (rows or self.rows - top)
        return shown.crop((left * width, top * height, right * width, bottom * height))

    @property
    def text(self) -> str:
        return "\n".join("".join(cell.text[:1] for cell in line).rstrip() for line in self.cells)

    def _draw_cell(self, shown: Image.Image, x: int, y: int, cell: Cell, scaled: dict[int, Image.Image]) -> None:
        width, height = self.cell
        box = (x * width, y * height, (x + 1) * width, (y + 1) * height)
        shown.paste(cell.background or (0, 0, 0), box)
        if cell.text == "▀":
            shown.paste(cell.foreground or (255, 255, 255), (box[0], box[1], box[2], box[1] + height // 2))
        elif cell.text.startswith(PLACEHOLDER) and len(cell.text) > 2 and cell.foreground is not None:
            red, green, blue = cell.foreground
            id = red << 16 | green << 8 | blue
            if id in self.images and id in self.places:
                row, column = MARKS.index(cell.text[1]), MARKS.index(cell.text[2])
                if id not in scaled:
                    columns, rows = self.places[id]
                    scaled[id] = self.images[id].resize((columns * width, rows * height))
                whole = scaled[id]
                shown.paste(whole.crop((column * width, row * height, (column + 1) * width, (row + 1) * height)), box[:2])

    def _text(self, text: str) -> None:
        for character in text:
            if character == "\r":
                self.x = 0
            elif character == "\n":
                self.y = min(self.y + 1, self.rows - 1)
                self.x = 0
            elif unicodedata.combining(character):
                self.cells[self.y][max(0, self.x - 1)].text += character
            elif character >= " " and self.x < self.columns:
                self.cells[self.y][self.x] = Cell(character, self.foreground, self.background)
                width, height = self.cell
                self.canvas.paste((0, 0, 0, 0), (self.x * width, self.y * height, (self.x + 1) * width, (self.y + 1) * height))
                self.x += 1

    def _escape(self, kind: str) -> None:
        if kind == "7":
            self.saved = self.x, self.y
        elif kind == "8":
            self.x, self.y = self.saved

    def _csi(self, sequence: str) -> None:
        kind, body = sequence[-1], sequence[:-1]
        if kind in "Hf" and not body.startswith("?"):
            numbers = [int(number or 1) for number in (body + ";1").split(";")[:2]] if body else [1, 1]
            self.y, self.x = min(numbers[0], self.rows) - 1, min(numbers[1], self.columns) - 1
        elif kind in "AB" and body.isdigit():
            self.y = max(0, min(self.rows - 1, self.y + (int(body) if kind == "B" else -int(body))))
        elif kind == "m" and not body.startswith(">"):
            self._sgr([int(number or 0) for number in body.split(";")])
        elif sequence == "6n":
            self.answers.append(b"\x1b[%d;%dR" % (self.y + 1, self.x + 1))
        elif sequence == "2J":
            self.__post_init__()

    def _sgr(self, codes: list[int]) -> None:
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.foreground = self.background = None
            elif code in (38, 48):
                kind = codes.pop(0)
                colour = (codes.pop(0), codes.pop(0), codes.pop(0)) if kind == 2 else _indexed(codes.pop(0))
                if code == 38:
                    self.foreground = colour
                else:
                    self.background = colour
            elif code == 39:
                self.foreground = None
            elif code == 49:
                self.background = None

    def _kitty(self, command: bytes) -> None:
        head, _, payload = command.partition(b";")
        keys = dict(part.split("=", 1) for part in head.decode().split(",") if part)
        action = keys.get("a", "t")
        if action == "t" and self.graphics:
            if "i" in keys:
                self._loading = int(keys["i"]), bytearray()
            assert self._loading is not None, "a chunk without a beginning"
            self._loading[1].extend(payload)
            if keys.get("m", "0") == "0":
                id, content = self._loading
                self.images[id] = Image.open(io.BytesIO(base64.standard_b64decode(bytes(content)))).convert("RGB")
                self._loading = None
        elif self._loading is not None:
            raise AssertionError("another graphics command in the midst of a picture")
        elif action == "p":
            self.places[int(keys["i"])] = int(keys["c"]), int(keys["r"])
        elif action == "d":
            self.images.pop(int(keys["i"]), None)

    def _dcs(self, content: bytes) -> None:
        parameters, found, body = content.partition(b"q")
        if found and re.fullmatch(rb"[\d;]*", parameters) and self.graphics:
            self.sixels += 1
            picture = decode_sixel(body)
            self.canvas.paste(picture, (self.x * self.cell[0], self.y * self.cell[1]), picture.getchannel("A"))


def decode_sixel(body: bytes) -> Image.Image:
    """The pixels of a sixel picture (what follows `q`); transparent where nothing was drawn."""
    raster = re.match(rb'"(\d+);(\d+);(\d+);(\d+)', body)
    assert raster is not None
    width, height = int(raster[3]), int(raster[4])
    picture = Image.new("RGBA", (width, height))
    pixels: Any = picture.load()
    palette: dict[int, RGB] = {}
    colour: RGB = (0, 0, 0)
    x = y = 0
    for token in re.finditer(rb"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)([?-~])|([?-~])|([$-])", body[raster.end() :]):
        if token[1]:
            index = int(token[1])
            if token[2]:
                palette[index] = tuple(round(int(value) * 255 / 100) for value in token.groups()[1:4])  # type: ignore[assignment]
            colour = palette[index]
        elif token[8]:
            x, y = 0, y + 6 * (token[8] == b"-")
        else:
            bits = (token[6] or token[7])[0] - 63
            number = int(token[5] or 1)
            for column in range(x, x + number):
                for row in range(6):
                    if bits >> row & 1:
                        pixels[column, y + row] = (*colour, 255)
            x += number
    return picture


def _indexed(index: int) -> RGB:
    levels = (0, 95, 135, 175, 215, 255)
    if index < 16:
        return (index, index, index)
    if index < 232:
        index -= 16
        return levels[index // 36], levels[index // 6 % 6], levels[index % 6]
    return (8 + 10 * (index - 232),) * 3


def difference(first: Image.Image, second: Image.Image) -> float:
    """Mean absolute difference of two pictures' channels, 0 to 255."""
    one, two = first.convert("RGB").tobytes(), second.convert("RGB").resize(first.size).tobytes()
    return sum(abs(a - b) for a, b in zip(one, two, strict=True)) / len(one)


class WindowDriver(Driver):
    """A driver for `App.run_test(headless=False)`: all goes to a `FakeTerminal`, text and pictures in the order written."""

    terminal: FakeTerminal

    @classmethod
    def of(cls, terminal: FakeTerminal) -> type[WindowDriver]:
        return type("WindowDriver", (cls,), {"terminal": terminal})

    def __init__(self, app: Any, **named: Any) -> None:
        super().__init__(app, **{**named, "size": (self.terminal.columns, self.terminal.rows)})
        self.text_bytes = self.picture_bytes = 0

    def write(self, data: str) -> None:
        content = data.encode("utf-8")
        self.text_bytes += len(content)
        self.terminal.feed(content)

    def send(self, pieces: Sequence[bytes], wanted: Callable[[], bool], done: Callable[[bool], None]) -> None:
        if not wanted():
            done(False)
            return
        for piece in pieces:
            self.picture_bytes += len(piece)
            self.terminal.feed(piece)
        done(True)

    def start_application_mode(self) -> None:
        size = Size(self.terminal.columns, self.terminal.rows)
        self._app.call_later(self._app.post_message, events.Resize(size, size))
        pictures = getattr(self._app, "pictures", None)
        if pictures is not None:
            pictures.connect(self)

    def disable_input(self) -> None: ...

    def stop_application_mode(self) -> None: ...


def in_loop(scene: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine."""

    @functools.wraps(scene)
    def run(*given: Any, **named: Any) -> None:
        asyncio.run(scene(*given, **named))

    return run
