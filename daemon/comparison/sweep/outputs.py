"""The files of a sweep: `manifest.jsonl`, `metrics.csv`, `table.csv`, `table.md`, `sheet*.png`, and last `summary.json`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon import files
from daemon.comparison.arms import Arm
from daemon.comparison.effects import CellValues, figure
from daemon.comparison.folder import write_metrics, write_sheets, write_summary
from daemon.comparison.grid import Column, Row, draw_sheets
from daemon.comparison.plan import Block
from daemon.comparison.sweep.tables import table_rows
from daemon.manifest import MANIFEST_FILE, write_manifest
from daemon.measuring.metrics import present
from daemon.protocol.specs import ImageRecord, SweepJob
from daemon.protocol.sweeps import SweepCell, SweepTable

MAX_SHEET_BLOCKS = 4
"""So many blocks are drawn as grids; all cells have the first ones."""


@dataclass(frozen=True)
class Finished:
    """A whole sweep. `records` and `values` by (block's index, cell's name)."""

    job: SweepJob
    table: SweepTable
    arms: tuple[Arm, ...]
    blocks: tuple[Block, ...]
    records: Mapping[tuple[int, str], ImageRecord]
    values: CellValues


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`summary.json`, written last: where it stands, the sweep is finished."""

    table: SweepTable
    inputs_sha256: str

    @property
    def file_names(self) -> tuple[str, ...]:
        """The other files that make it whole."""
        return (MANIFEST_FILE, "metrics.csv", "table.csv", "table.md", *self.table.sheet_paths)


def write_outputs(finished: Finished, folder: Path, images_path: Path, inputs_sha256: str, check: Callable[[], None]) -> SweepTable:
    """Write all files to `folder`; returns the table with its sheets. `check` is called between the slow ones and may raise to stop."""
    write_manifest(folder / MANIFEST_FILE, [record for _, record in sorted(finished.records.items())])
    image_ids = {place: record.id for place, record in finished.records.items()}
    write_metrics(folder, "cell", finished.blocks, finished.arms, image_ids, finished.values)
    sheet_names = write_sheets(_sheets(finished, images_path), folder, check)
    table = msgspec.structs.replace(finished.table, sheet_paths=tuple(sheet_names))
    files.write_atomic(folder / "table.csv", _table_csv(table).encode())
    files.write_atomic(folder / "table.md", _markdown(finished.job.session, table).encode())
    write_summary(folder, Summary(table=table, inputs_sha256=inputs_sha256))
    return table


def _table_csv(table: SweepTable) -> str:
    """A row a cell: its values, its blocks, every mean, the difference to the best with its interval, verdict, why it stopped."""
    metrics = present(cell.means for cell in table.cells)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["cell", *table.axes, "num_blocks", *metrics, "difference", "low", "high", "verdict", "stopped"])
    for cell in table.cells:
        against = ["" if value is None else value for value in (cell.difference, cell.low, cell.high)]
        values, means = (cell.values[axis] for axis in table.axes), (cell.means.get(name, "") for name in metrics)
        rows.writerow([cell.name, *values, cell.num_blocks, *means, *against, cell.verdict, cell.stopped])
    return text.getvalue()


def _markdown(session: str, table: SweepTable) -> str:
    headings, rows = table_rows(table)
    lines = [headings, ["---"] * len(headings), *rows]
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    notes = [
        f"Differences are paired by prompt and seed, with {table.confidence:.0%} bootstrap intervals over prompts, each at its own level.",
        "The interval of a cell that stopped is over the blocks it has; that it stopped was decided by a stricter one (see the guide).",
    ]
    return f"# {session}: sweep {table.name}\n\n{table.verdict}\n\n{text}\n\n{' '.join(notes)}\n"


def _sheets(finished: Finished, images_path: Path) -> Iterator[bytes]:
    """X/Y grids: the longest axis across, the others down; one a block."""
    table = finished.table
    across = max(table.axes, key=lambda axis: len({cell.values[axis] for cell in table.cells}))
    titles = list(dict.fromkeys(cell.values[across] for cell in table.cells))
    columns = [Column(f"{across} {title}", "") for title in titles]
    lines: dict[str, list[SweepCell]] = {}
    for cell in table.cells:
        lines.setdefault(", ".join(f"{axis} {cell.values[axis]}" for axis in table.axes if axis != across), []).append(cell)
    for block in finished.blocks[:MAX_SHEET_BLOCKS]:
        if all((block.index, cell.name) in finished.records for cell in table.cells):
            heading = f"{finished.job.session}: sweep {table.name}. {block.prompt} (seed {block.seed})"
            rows = [_row(caption or "the arm", cells, block, finished, images_path) for caption, cells in lines.items()]
            yield from draw_sheets(heading, columns, rows)


def _row(caption: str, cells: Sequence[SweepCell], block: Block, finished: Finished, images_path: Path) -> Row:
    paths = tuple(images_path / f"{finished.records[block.index, cell.name].id}.png" for cell in cells)
    return Row(caption, paths, tuple(_note(cell, finished.table.metric) for cell in cells))


def _note(cell: SweepCell, metric: str) -> str:
    """Under a picture: the cell's mean over its blocks."""
    mean = f"mean {metric} {figure(cell.means[metric])}" if metric in cell.means else ""
    return f"{mean}, {'best' if cell.verdict == 'best' else 'stopped after ' + str(cell.num_blocks) if cell.stopped else cell.verdict}"
