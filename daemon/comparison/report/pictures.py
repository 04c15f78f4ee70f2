"""Which pictures go into the report, and how large: as many and as large as a bounded file holds."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.comparison.findings import Findings
from daemon.comparison.plan import Block
from daemon.pictures import thumbnail_path

MAX_PICTURE_BYTES = 24 * 2**20
"""Of all WebP thumbnails together; base64 makes them a third larger in the file."""
PIXELS = (512, 256)
"""Sizes of the longer side, the best first."""


@dataclass(frozen=True)
class Shown:
    """The blocks whose pictures are in the report, and the longer side of these in pixels."""

    blocks: tuple[Block, ...]
    pixels: int


def choose_shown(findings: Findings, images_path: Path) -> Shown:
    """All blocks at the largest size that fits `MAX_PICTURE_BYTES`, else as many from the first as fit at the smallest; one at least."""
    for pixels in PIXELS:
        num_blocks = _num_fitting(findings, images_path, pixels)
        if num_blocks == len(findings.blocks):
            break
    return Shown(findings.blocks[: max(1, num_blocks)], pixels)


def picture_path(findings: Findings, images_path: Path, block: Block, arm: str, pixels: int) -> Path:
    """The thumbnail of a cell."""
    return thumbnail_path(images_path, findings.picture_ids[block.index, arm], pixels)


def data_uri(path: Path) -> str:
    """A WebP or PNG file as a `data:` address."""
    return f"data:image/{path.suffix.removeprefix('.')};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _num_fitting(findings: Findings, images_path: Path, pixels: int) -> int:
    left = MAX_PICTURE_BYTES
    for count, block in enumerate(findings.blocks):
        left -= sum(path.stat().st_size for path in _paths(findings, images_path, block, pixels))
        if left < 0:
            return count
    return len(findings.blocks)


def _paths(findings: Findings, images_path: Path, block: Block, pixels: int) -> Sequence[Path]:
    return [picture_path(findings, images_path, block, arm.name, pixels) for arm in findings.arms]
