"""What a comparison paints: blocks (prompt x seed) and their cells (block x arm). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daemon.comparison.arms import Arm
from daemon.engine.base import ModelIdentity
from daemon.pictures import make_request
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ComparisonSpec, EmbeddingRequest, ImageRequest, PromptSpec


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


def prompt_clusters(blocks: Iterable[Block]) -> list[int]:
    """Whose evidence each block is: a number a prompt, from 0 in the order in which the prompts come."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(block.prompt, len(numbers)) for block in blocks]


def plan_cells(spec: ComparisonSpec, blocks: Sequence[Block], arms: Sequence[Arm], identity: ModelIdentity) -> tuple[Cell, ...]:
    """Block by block, a block's arms together: an interrupted comparison has whole blocks.

    Raises `NegError` `invalid` where an arm has an embedding whose token stands in none of its prompts.
    """
    for arm in arms:
        _require_used(arm, blocks)
    return tuple(Cell(block, arm, _request(spec, block, arm, identity)) for block in blocks for arm in arms)


def _require_used(arm: Arm, blocks: Sequence[Block]) -> None:
    used = {embedding for block in blocks for embedding in _embeddings(arm, block)}
    for embedding in arm.embeddings:
        if embedding not in used:
            token = embedding.placeholder_token
            message = f"Arm {arm.name!r} has an embedding for {token}, which stands neither in its negative_prompt nor in a prompt."
            raise NegError("invalid", message, f'Set its negative_prompt to "{token}", or leave the embedding out.')


def _embeddings(arm: Arm, block: Block) -> tuple[EmbeddingRequest, ...]:
    """Only those that change the picture, so that equal pixels have equal ids. CLIP's tokenizers do not tell capitals."""
    words = f"{block.prompt} {arm.negative_prompt or ''}".lower()
    return tuple(embedding for embedding in arm.embeddings if embedding.placeholder_token.lower() in words)


def _request(spec: ComparisonSpec, block: Block, arm: Arm, identity: ModelIdentity) -> ImageRequest:
    return make_request(
        identity,
        spec,
        prompt=block.prompt,
        negative_prompt=arm.negative_prompt,
        seed=block.seed,
        guidance_scale=spec.guidance_scale if arm.guidance_scale is None else arm.guidance_scale,
        adapters=arm.adapters,
        embeddings=_embeddings(arm, block),
        guidance_start=arm.guidance_start,
        guidance_end=arm.guidance_end,
        refiner=arm.refiner,
    )
