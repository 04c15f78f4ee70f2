"""What a picture file says of itself: the settings that negtui, AUTOMATIC1111's web UI and their kin leave in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from PIL import Image

from daemon.protocol import codec
from daemon.protocol.specs import ImageRequest

_FIELD = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|\{[^{}]*\}|[^,]*)(?:,|$)')
MIN_FIELDS = 3
"""A last line with fewer is still part of the prompt; so reads the web UI too."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """The chunk `parameters`, taken apart. `settings` by the names that its writer gave them (`Steps`, `CFG scale`, `Seed`, ...)."""

    prompt: str
    negative_prompt: str = ""
    settings: dict[str, str] = {}


def read_parameters(source: Path | BinaryIO) -> Parameters | None:
    """The settings in a picture's `parameters`, whoever wrote them; None where it has none. Raises `OSError` where it is no picture."""
    text = _chunks(source).get("parameters")
    return parse_parameters(text) if text else None


def read_request(source: Path | BinaryIO) -> ImageRequest | None:
    """The request that negtui painted a picture from, or None where it carries none that can be read."""
    try:
        return msgspec.json.decode(_chunks(source).get("request", ""), type=ImageRequest)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None


def parse_parameters(text: str) -> Parameters:
    """Prompt, negative prompt, and the last line's `Name: value` fields."""
    *lines, last = text.strip().split("\n")
    found = _FIELD.findall(last)
    if len(found) < MIN_FIELDS:
        lines, found = [*lines, last], []
    begin = next((number for number, line in enumerate(lines) if line.startswith("Negative prompt:")), len(lines))
    negative = "\n".join(lines[begin:]).removeprefix("Negative prompt:").strip()
    settings = {name: _unquoted(value) for name, value in found}
    return Parameters(prompt="\n".join(lines[:begin]).strip(), negative_prompt=negative, settings=settings)


def told_by(source: BinaryIO) -> dict[str, Any]:
    """All that a file says, as JSON: negtui's own request and the id that follows from it, else the parameters, else its texts."""
    request = read_request(source)
    if request is not None:
        return {"id": codec.canonical_sha256(request)[:32], **msgspec.to_builtins(request)}
    parameters = read_parameters(source)
    if parameters is None:
        return dict(_chunks(source))
    return {"prompt": parameters.prompt, "negative_prompt": parameters.negative_prompt, **parameters.settings}


def _chunks(source: Path | BinaryIO) -> dict[str, str]:
    if not isinstance(source, Path):
        source.seek(0)
    with Image.open(source) as image:
        image.load()  # text behind the pixels counts too
        return {str(name): str(text) for name, text in getattr(image, "text", {}).items()}


def _unquoted(value: str) -> str:
    try:
        read = json.loads(value) if value.startswith('"') else value
    except ValueError:
        return value
    return str(read)
