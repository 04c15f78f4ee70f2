"""Looks at how the first blocks come about, arm by arm: each is painted once more, watched. Torch-free; a block that was looked at is kept.

`diagnosis/block-N.json` holds a block's curves and maps, under the hash of its pictures; `outputs.py` writes `diagnosis.json` of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from daemon import files
from daemon.comparison.guidance import guidance_curves, guidance_map, mean_guidance
from daemon.comparison.maps import Map, difference_map, map_png
from daemon.comparison.plan import Cell
from daemon.comparison.training_curves import read_training_curves
from daemon.engine.base import Trajectory
from daemon.pictures import PaintPace, image_id, open_rgb
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.diagnosis import ArmGuidance, Diagnosis, GuidanceMap
from daemon.protocol.specs import ImageRecord, ModelSpec
from daemon.recipe import JobContext

FOLDER = "diagnosis"
VERSION = 1
"""Goes up when a curve or a map changes, so that blocks are looked at again."""


class BlockGuidance(msgspec.Struct, frozen=True, kw_only=True):
    """One block, as `block-N.json` keeps it."""

    key: str
    block: int
    arms: tuple[ArmGuidance, ...]
    maps: tuple[GuidanceMap, ...]
    largest_pixel_difference: int


@dataclass(frozen=True)
class Watched:
    """A block's cells with their pictures on disk, in the arms' order; `baseline` is the arm that the others are held against."""

    cells: tuple[Cell, ...]
    records: tuple[ImageRecord, ...]
    baseline: str

    @property
    def key(self) -> str:
        return canonical_sha256([VERSION, self.baseline, [[cell.arm.name, one.id, one.sha256] for cell, one in self._pairs]])

    @property
    def _pairs(self) -> list[tuple[Cell, ImageRecord]]:
        return list(zip(self.cells, self.records, strict=True))


def diagnose(context: JobContext, model: ModelSpec, blocks: Sequence[Watched], adapters: Sequence[str], comparison_path: Path) -> Diagnosis:
    """Paint the blocks again, watched, where `comparison_path` does not hold them yet; `adapters` are those of the arms, by name."""
    folder = comparison_path / FOLDER
    pace = PaintPace(context, "diagnose", sum(len(block.cells) for block in blocks))
    found: list[BlockGuidance] = []
    for number, block in enumerate(blocks):
        path = folder / f"block-{block.cells[0].block.index}.json"
        known = _read(path, block.key, comparison_path)
        if known is None:
            known = _look(context, model, block, comparison_path, pace, number)
            files.write_atomic(path, msgspec.json.encode(known))
        found.append(known)
    _remove_stale(folder, found)
    return Diagnosis(
        blocks=tuple(one.block for one in found),
        arms=tuple(mean_guidance(ways) for ways in zip(*(one.arms for one in found), strict=True)),
        maps=tuple(one for block in found for one in block.maps),
        trainings=read_training_curves(context.session_path, adapters),
        largest_pixel_difference=max(one.largest_pixel_difference for one in found),
    )


def _look(context: JobContext, model: ModelSpec, block: Watched, comparison_path: Path, pace: PaintPace, number: int) -> BlockGuidance:
    ways: dict[str, Trajectory] = {}
    for place, cell in enumerate(block.cells):
        context.check()
        label = f"looking at {cell.arm.name}: {cell.block.prompt}"[:200]
        on_step = pace.on_step(image_id(cell.request), number * len(block.cells) + place, label)
        ways[cell.arm.name] = context.engine.watch(model, cell.request, on_step)
    painted = {cell.arm.name: open_rgb(context.session_path / one.path) for cell, one in zip(block.cells, block.records, strict=True)}
    baseline = ways[block.baseline].predictions
    index = block.cells[0].block.index
    guidances = {name: guidance_map(way.predictions) for name, way in ways.items()}
    differences = {name: difference_map(image, painted[block.baseline]) for name, image in painted.items() if name != block.baseline}
    return BlockGuidance(
        key=block.key,
        block=index,
        arms=tuple(
            ArmGuidance(
                arm=name,
                timesteps=tuple(one.timestep for one in way.predictions),
                curves=guidance_curves(way.predictions, baseline),
            )
            for name, way in ways.items()
        ),
        maps=(*_save(guidances, "guidance", index, comparison_path), *_save(differences, "difference", index, comparison_path)),
        largest_pixel_difference=max(_largest_difference(way.image, painted[name]) for name, way in ways.items()),
    )


def _save(maps: dict[str, Map], kind: str, index: int, comparison_path: Path) -> list[GuidanceMap]:
    """All arms of a block on one scale."""
    highest = max((float(values.max()) for values in maps.values()), default=0.0)
    saved = []
    for name, values in maps.items():
        path = f"{FOLDER}/block-{index}-{name}-{kind}.png"
        files.write_atomic(comparison_path / path, map_png(values, highest))
        told = {"block": index, "arm": name, "kind": kind, "path": path, "highest": highest, "mean": float(values.mean())}
        saved.append(msgspec.convert(told, GuidanceMap))
    return saved


def _read(path: Path, key: str, comparison_path: Path) -> BlockGuidance | None:
    """A block that was looked at: the same pictures, and its maps are there."""
    try:
        known = msgspec.json.decode(path.read_bytes(), type=BlockGuidance)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return known if known.key == key and all((comparison_path / one.path).is_file() for one in known.maps) else None


def _remove_stale(folder: Path, found: Sequence[BlockGuidance]) -> None:
    """Files of blocks or arms that are no longer looked at."""
    kept = {Path(one.path).name for block in found for one in block.maps} | {f"block-{one.block}.json" for one in found}
    for path in folder.glob("block-*"):
        if path.name not in kept:
            path.unlink()


def _largest_difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one.convert("RGB"), np.int16) - np.asarray(other, np.int16)).max())
