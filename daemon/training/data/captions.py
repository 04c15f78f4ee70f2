"""What each image of a folder is called: text files beside the images, `metadata.jsonl`, or the prompts they were painted with.

Free of torch. Captions are foreign files too: only regular ones of bounded size are read, and a bad one is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRecord
from daemon.training.data.decoding import RefusedImage, printable, read_regular

Source = Literal["instance_prompt", "txt", "metadata", "manifest"]
MAX_CAPTION = 8192
"""Characters, as in a prompt."""
MAX_CAPTION_BYTES = 64 * 1024
MAX_METADATA_BYTES = 64 * 2**20
METADATA_FILE = "metadata.jsonl"


class Captions:
    """The captions of a folder. `refused`: a sentence per line of `metadata.jsonl` that is none."""

    def __init__(self, find: Callable[[Path], str | None], refused: tuple[str, ...] = ()) -> None:
        self._find, self.refused = find, refused
        self.num_found = 0

    def of(self, path: Path) -> str | None:
        """The caption of an image on one line, or None where it has none. Raises `RefusedImage` where it has one that cannot be read."""
        caption = " ".join((self._find(path) or "").split())
        if len(caption) > MAX_CAPTION:
            raise RefusedImage(f"its caption has {len(caption):,} characters, {MAX_CAPTION:,} are allowed")
        self.num_found += bool(caption)
        return caption or None


def read_captions(folder: Path, source: Source, records: Sequence[ImageRecord] = ()) -> Captions:
    """The captions of `folder` from `source`; `records` are its manifest's. Raises `NegError` `not_found` without `metadata.jsonl`."""
    if source == "txt":
        return Captions(_beside)
    if source == "metadata":
        texts, refused = _read_metadata(folder)
        return Captions(lambda path: texts.get(path.name), refused)
    if source == "manifest":
        prompts = {Path(record.path).name: record.request.prompt for record in records}
        return Captions(lambda path: prompts.get(path.name))
    return Captions(lambda path: None)


def no_captions(folder: Path, source: Source) -> NegError:
    """What to say where `source` has no caption for any image."""
    wanted = {
        "txt": "a .txt file of an image's name beside it",
        "metadata": f'a line of {METADATA_FILE} such as {{"file_name": "1.png", "text": "a cat"}} that names one of its images',
        "manifest": "a manifest.jsonl that tells what its images were painted with",
    }
    message = f'training.captions is "{source}", but {folder} has not {wanted.get(source, "any")}.'
    return NegError("not_found", message, 'Add the captions, or set captions = "instance_prompt".')


def _beside(path: Path) -> str | None:
    caption_path = path.with_suffix(".txt")
    try:
        caption_path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedImage(f"its caption {printable(caption_path)} is not usable: it cannot be opened ({error.strerror})") from None
    try:
        return read_regular(caption_path, MAX_CAPTION_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedImage(f"its caption {printable(caption_path)} is not UTF-8 text") from None
    except RefusedImage as error:
        raise RefusedImage(f"its caption {printable(caption_path)} is not usable: {error}") from None


class _Line(msgspec.Struct):
    """A line as Hugging Face's ImageFolder reads it; other fields are allowed and left alone."""

    file_name: str
    text: str


_decoder = msgspec.json.Decoder(_Line)


def _read_metadata(folder: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Captions by file name, the last line of a name counting, and what is wrong with the other lines."""
    path = folder / METADATA_FILE
    try:
        lines = read_regular(path, MAX_METADATA_BYTES).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except RefusedImage as error:
        raise NegError("not_found", f'training.captions is "metadata", but {path} cannot be read: {error}.', _METADATA_HINT) from None
    texts: dict[str, str] = {}
    refused = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = _decoder.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            refused.append(f"{METADATA_FILE}, line {number} is left out: {error}.")
            continue
        texts[found.file_name.removeprefix("./")] = found.text
    return texts, tuple(refused)


_METADATA_HINT = 'Put one there, a line per image: {"file_name": "1.png", "text": "a cat"}.'
