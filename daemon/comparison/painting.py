"""The cells of one block painted together, as records of a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from daemon.comparison.plan import Cell
from daemon.pictures import PaintPace, Picture, paint_block_or_reuse
from daemon.protocol.specs import ImageRecord, ModelSpec, Status

COMPARISONS_FOLDER = "comparisons"
IMAGES_FOLDER = f"{COMPARISONS_FOLDER}/images"
"""Of all comparisons and sweeps of a session: what one has painted, the others have."""


def paint_cells(pace: PaintPace, model: ModelSpec, cells: Sequence[Cell], session_path: Path, index: int) -> Iterator[tuple[int, Picture]]:
    """The pictures of a block's cells, each with its cell's number; `index` is the first one's among all of the recipe.

    The time is counted until each is there. Not stopped in between: what was painted together is kept together.
    """
    requests = [cell.request for cell in cells]
    labels = [f"{cell.arm.name}: {cell.block.prompt}"[:200] for cell in cells]
    pictures = paint_block_or_reuse(pace, model, requests, session_path / IMAGES_FOLDER, index=index, labels=labels)
    while True:
        with pace.context.phase("paint"):
            found = next(pictures, None)
        if found is None:
            return
        yield found


def cell_record(cell: Cell, picture: Picture, status: Status = "undecided") -> ImageRecord:
    """The line of a manifest that tells of a cell's picture."""
    path = f"{IMAGES_FOLDER}/{picture.path.name}"
    return ImageRecord(id=picture.id, path=path, sha256=picture.sha256, request=cell.request, arm=cell.arm.name, status=status)
