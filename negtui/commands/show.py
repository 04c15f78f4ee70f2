"""`negtui show`: a picture in the midst of a terminal's text, for scripts and a quick look."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from daemon.protocol.commands import ReadEvents, StoredEvents
from daemon.protocol.errors import NegError
from daemon.protocol.events import ImageSaved
from negtui.commands.exits import OK
from negtui.commands.invocation import Daemon, Invocation, ask
from negtui.output import clean
from negtui.picture_text import told_by
from negtui.pixels import kitty
from negtui.pixels.base import Choice, fit
from negtui.pixels.choose import choose, prepare
from negtui.pixels.half import half_rows, sgr
from negtui.pixels.payload import local_png, small_png
from negtui.pixels.pictures import decode
from negtui.pixels.probe import Answers
from negtui.pixels.sixel import SSH_COLOURS, bands
from negtui.pixels.store import new_id

MAX_ROWS = 40
PAGE = 1000
MIN_ID = 4


async def show(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui show FILE|ID [--info]`"""
    told, content = await _find(arguments.picture, invocation)
    try:
        image = await asyncio.to_thread(decode, content)
        said = await asyncio.to_thread(told_by, io.BytesIO(content)) if arguments.info else {}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise NegError(
            "invalid", f"{arguments.picture} is no picture that can be shown: {error}.", "PNG, WebP, JPEG and others are."
        ) from None
    output = invocation.output
    output.object({**told, "width": image.width, "height": image.height, **({"says": said} if arguments.info else {})})
    if arguments.info:
        output.line(f"{told['path']}  {image.width} x {image.height}")
        for line in info_lines(said):
            output.line(line)
    elif not output.as_json:
        choice = await asyncio.to_thread(choice_for, output.stdout, arguments.images, ascii=arguments.ascii)
        await asyncio.to_thread(draw, image, output.stdout, choice, arguments.width, arguments.height)
        output.line(f"{told['path']}  {image.width} x {image.height}{_asked(told)}")
    return OK


def info_lines(said: dict[str, Any]) -> list[str]:
    """A line a setting, as the file says it."""
    if not said:
        return ["It says nothing of how it was made."]
    width = max(len(name) for name in said)
    return [f"{name:<{width}}  {value if _is_plain(value) else json.dumps(value, ensure_ascii=False)}" for name, value in said.items()]


def choice_for(stream: TextIO, images: str | None, *, ascii: bool) -> Choice:
    """How pictures are drawn on a stream; the terminal is asked where it is one. None into a pipe, unless asked for."""
    if stream is sys.stdout and stream.isatty():
        return prepare(images, ascii=ascii)[0]
    return choose(Answers(), {"COLORTERM": "truecolor"}, images or "off", ascii=ascii)


def draw(image: Image.Image, stream: TextIO, choice: Choice, columns: int | None = None, rows: int | None = None) -> None:
    """Print a picture at the cursor, as large as fits `columns` x `rows` cells, else the terminal."""
    size = shutil.get_terminal_size()
    place = fit(image.width, image.height, columns or size.columns, rows or max(1, min(size.lines - 2, MAX_ROWS)), choice.cell)
    content = inline(image, *place, choice)
    stream.flush()
    binary = getattr(stream, "buffer", None)
    if binary is None:
        stream.write(content.decode("utf-8"))
    else:
        binary.write(content)
    stream.flush()


def inline(image: Image.Image, columns: int, rows: int, choice: Choice) -> bytes:
    """What draws a picture of `columns` x `rows` cells at the beginning of a line, and ends on the line behind it."""
    if choice.backend == "kitty":
        id = new_id()
        columns, rows = min(columns, kitty.MAX_CELLS), min(rows, kitty.MAX_CELLS)
        png = (small_png if choice.over_ssh else local_png)(image, columns, rows, choice.cell)
        pieces = kitty.transmit(id, png, columns, rows, in_tmux=choice.in_tmux)
        colour = "\x1b[38;2;{};{};{}m".format(*kitty.id_colour(id))
        lines = "".join(f"{colour}{line}\x1b[39m\n" for line in kitty.placeholder_rows(columns, rows))
        return b"".join(pieces) + lines.encode()
    if choice.backend == "sixel":
        colours = min(choice.sixel_colours, SSH_COLOURS if choice.over_ssh else 256)
        found = bands(image, columns, rows, choice.cell, colours=colours)
        # Room first: sixel at the last line scrolls by itself, and not the same everywhere.
        room = b"\n" * rows + b"\x1b[%dA" % rows
        return room + b"".join(b"\x1b7" + band.content + b"\x1b8" + b"\x1b[%dB" % band.rows for band in found) + b"\r"
    if choice.backend == "half":
        drawn = half_rows(image, columns, rows, choice.colours, ascii=choice.ascii)
        plain = choice.colours == "none" or choice.ascii
        end = "\n" if plain else "\x1b[0m\n"
        drawn_lines = ["".join(run.text if plain else sgr(run, choice.colours) for run in row) + end for row in drawn]
        return "".join(drawn_lines).encode()
    return b""


async def _find(named: str, invocation: Invocation) -> tuple[dict[str, Any], bytes]:
    """A picture by its file's name, else by the beginning of its id, else by `session/path`: what is known of it, and its bytes."""
    path = Path(named)
    if path.is_file():
        try:
            return {"path": clean(named)}, await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise NegError("invalid", f"{named} cannot be read: {error.strerror}.") from None
    if not _may_be_id(named) and "/" not in named:
        raise NegError(
            "not_found", f"There is no file {named}.", "Name a file, the beginning of a picture's id, or SESSION/dataset/NAME.png."
        )
    async with invocation.daemon() as daemon:
        fetch = fetch_of(daemon)
        if "/" in named:
            session, _, inside = named.partition("/")
            return {"session": session, "path": inside}, await fetch(session, inside)
        saved = await find_image(daemon, named)
        request = saved.image.request
        told = {
            "id": saved.image.id,
            "session": saved.session,
            "path": saved.image.path,
            "prompt": request.prompt,
            "seed": request.seed,
            "guidance_scale": request.guidance_scale,
        }
        return told, await fetch(saved.session, saved.image.path)


async def find_image(daemon: Daemon, prefix: str) -> ImageSaved:
    """The newest picture whose id begins with `prefix`. Raises `NegError` `not_found`, `invalid` where several do."""
    from daemon.protocol import codec

    found: dict[str, ImageSaved] = {}
    since = 0
    while True:
        page = await ask(daemon, ReadEvents(since_seq=since, limit=PAGE), StoredEvents)
        for body in page.events:
            event = codec.decode_event(body)
            if isinstance(event, ImageSaved) and event.image.id.startswith(prefix):
                found[event.image.id] = event
        if not page.seqs:
            break
        since = page.seqs[-1]
    if not found:
        raise NegError("not_found", f"There is neither a file nor a picture {prefix!r}.", "`negtui logs JOB` names the pictures of a job.")
    if len(found) > 1:
        ids = ", ".join(list(found)[:5])
        raise NegError("invalid", f"{prefix!r} begins the ids of {len(found)} pictures: {ids}.", "Write more of the id.")
    return next(iter(found.values()))


def fetch_of(daemon: Any) -> Callable[[str, str], Awaitable[bytes]]:
    """How files of sessions come from this connection."""
    fetch: Callable[[str, str], Awaitable[bytes]] = getattr(daemon, "client", daemon).fetch
    return fetch


def _may_be_id(named: str) -> bool:
    return len(named) >= MIN_ID and all(character in "0123456789abcdef" for character in named)


def _is_plain(value: object) -> bool:
    return isinstance(value, str) and "\n" not in value


def _asked(told: dict[str, Any]) -> str:
    if "prompt" not in told:
        return ""
    return f"  {told['prompt']} (seed {told['seed']}, guidance {told['guidance_scale']:g})"
