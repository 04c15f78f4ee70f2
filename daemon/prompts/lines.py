"""A file of prompts: one a line, with its seed or without."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from daemon import files
from daemon.prompts.weighting import check_weighting
from daemon.protocol.errors import NegError
from daemon.protocol.specs import PromptSpec


def read_prompts_file(session_path: Path, name: str) -> tuple[PromptSpec, ...]:
    """A prompt a line, `seed<TAB>prompt` where the seed is fixed; empty lines and lines that begin with `# ` are skipped.

    Raises `NegError`: `not_found`, or `invalid` with the line.
    """
    path = files.inside(session_path, name)
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise NegError(
            "not_found", f"comparison.prompts_file: {name} cannot be read ({error.strerror}).", "Put it in the session."
        ) from None
    except UnicodeDecodeError:
        raise NegError("invalid", f"comparison.prompts_file: {name} is not UTF-8 text.", "Save it as UTF-8.") from None
    return parse_prompts(text, name)


def parse_prompts(text: str, name: str) -> tuple[PromptSpec, ...]:
    """The lines of a prompts' file; `name` is for errors. Raises `NegError` with the line, also where compel would not read a weight."""
    prompts = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line and line != "#" and not line.startswith("# "):
            prompts.append(_parse_line(line, f"{name}, line {number}"))
    return tuple(prompts)


def _parse_line(line: str, where: str) -> PromptSpec:
    seed, tab, prompt = line.partition("\t")
    if tab and not re.fullmatch(r"[0-9]{1,19}", seed.strip()):
        raise NegError("invalid", f"{where}: before the tab stands {seed[:40]!r}, not a seed.", "Write `seed<TAB>prompt`, or no tab.")
    fields = {"prompt": prompt.strip(), "seed": int(seed)} if tab else {"prompt": line}
    try:
        read = msgspec.convert(fields, PromptSpec)
    except msgspec.ValidationError as error:
        raise NegError("invalid", f"{where}: {error}.") from None
    fault = check_weighting(read.prompt)
    if fault is not None:
        raise NegError("invalid", f"{where}: {fault.detail.message}", fault.detail.hint)
    return read
