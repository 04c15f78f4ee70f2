"""What a comparison paints: blocks (prompt x seed) and their cells (block x arm). Pure but for reading the prompts' file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon import files
from daemon.comparison.arms import Arm
from daemon.engine.base import ModelIdentity
from daemon.pictures import make_request
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ComparisonSpec, ImageRequest, PromptSpec


@dataclass(frozen=True)
class Block:
    """A prompt and a seed, painted once by every arm. `index` counts from 0."""

    index: int
    prompt: str
    seed: int


@dataclass(frozen=True)
class Cell:
    """One picture: a block as one arm paints it."""

    block: Block
    arm: Arm
    request: ImageRequest


def plan_blocks(spec: ComparisonSpec, more_prompts: Sequence[PromptSpec] = ()) -> tuple[Block, ...]:
    """The blocks in order, each once (a block that stood twice would count twice as evidence). A prompt's own seed replaces `seeds`.

    Raises `NegError` `invalid` where there is no prompt.
    """
    prompts = [*spec.prompts, *more_prompts]
    if spec.num_prompts:
        prompts = prompts[: spec.num_prompts]
    if not prompts:
        raise NegError("invalid", "The comparison has no prompts.", "Set comparison.prompts or comparison.prompts_file in session.toml.")
    pairs = dict.fromkeys((one.prompt, seed) for one in prompts for seed in (spec.seeds if one.seed is None else (one.seed,)))
    return tuple(Block(index, prompt, seed) for index, (prompt, seed) in enumerate(pairs))


def plan_cells(spec: ComparisonSpec, blocks: Sequence[Block], arms: Sequence[Arm], identity: ModelIdentity) -> tuple[Cell, ...]:
    """Block by block, a block's arms together: an interrupted comparison has whole blocks."""
    return tuple(Cell(block, arm, _request(spec, block, arm, identity)) for block in blocks for arm in arms)


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
    """The lines of a prompts' file; `name` is for errors."""
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
        return msgspec.convert(fields, PromptSpec)
    except msgspec.ValidationError as error:
        raise NegError("invalid", f"{where}: {error}.") from None


def _request(spec: ComparisonSpec, block: Block, arm: Arm, identity: ModelIdentity) -> ImageRequest:
    return make_request(
        identity,
        spec,
        prompt=block.prompt,
        negative_prompt=arm.negative_prompt,
        seed=block.seed,
        guidance_scale=spec.guidance_scale,
        adapters=arm.adapters,
    )
