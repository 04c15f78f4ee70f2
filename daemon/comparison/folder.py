"""What the folders of comparisons and of sweeps hold alike: `metrics.csv`, `sheet*.png`, and last `summary.json`.

Beside them lie all pictures and what was measured of them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from daemon import files
from daemon.comparison.arms import Arm
from daemon.comparison.effects import CellValues
from daemon.comparison.painting import COMPARISONS_FOLDER
from daemon.comparison.plan import Block
from daemon.measuring.measures import Scorer, Subject, measure
from daemon.measuring.metrics import Values, present
from daemon.protocol.codec import pretty_json
from daemon.protocol.specs import ImageRecord
from daemon.recipe import JobContext

SUMMARY_FILE = "summary.json"


class AnySummary(Protocol):
    """As much of a `summary.json` as tells whether its folder is finished."""

    @property
    def inputs_sha256(self) -> str: ...
    @property
    def file_names(self) -> Sequence[str]:
        """The other files that make it whole."""
        ...


S = TypeVar("S", bound=AnySummary)


def measure_records(context: JobContext, records: Iterable[ImageRecord], scorers: Sequence[Scorer]) -> dict[str, Values]:
    """All figures of a session's pictures, by the picture's sha256; what one comparison or sweep has measured, the others have."""
    subjects = [Subject(context.session_path / record.path, record.sha256, record.request.prompt) for record in records]
    return measure(context, subjects, scorers, context.session_path / COMPARISONS_FOLDER / "measures.jsonl")


def write_summary(folder: Path, summary: AnySummary) -> None:
    """Write `summary.json`, last of all: where it stands, everything is there."""
    files.write_atomic(folder / SUMMARY_FILE, pretty_json(summary))


def read_summary(folder: Path, summary_type: type[S], inputs_sha256: str) -> S | None:
    """The summary of what was finished of the same inputs and whose files are all still there, else None."""
    try:
        summary = msgspec.json.decode((folder / SUMMARY_FILE).read_bytes(), type=summary_type)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    is_whole = summary.inputs_sha256 == inputs_sha256 and all((folder / name).is_file() for name in summary.file_names)
    return summary if is_whole else None


def write_sheets(sheets: Iterable[bytes], folder: Path, check: Callable[[], None]) -> list[str]:
    """Write PNGs as `sheet.png`, `sheet-2.png` and so on; returns their names. More sheets that were there before are removed.

    `check` is called after each and may raise to stop.
    """
    names: list[str] = []
    for sheet in sheets:
        names.append(f"sheet-{len(names) + 1}.png" if names else "sheet.png")
        files.write_atomic(folder / names[-1], sheet)
        check()
    for stale in folder.glob("sheet-*.png"):
        if stale.name not in names:
            stale.unlink()
    return names


def write_metrics(
    folder: Path,
    arm_column: str,
    blocks: Sequence[Block],
    arms: Sequence[Arm],
    image_ids: Mapping[tuple[int, str], str],
    values: CellValues,
) -> None:
    """Write `metrics.csv`, a row a picture: block, prompt, seed, arm, image, then every metric (empty where the picture has none).

    `arm_column` heads the arms. `image_ids` by (block's index, arm's name), of the pictures that there are.
    """
    metrics = present(values.values())
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["block", "prompt", "seed", arm_column, "image", *metrics])
    for block in blocks:
        for arm in arms:
            place = block.index, arm.name
            if place in image_ids:
                figures = (values[place].get(name, "") for name in metrics)
                table.writerow([block.index, block.prompt, block.seed, arm.name, image_ids[place], *figures])
    files.write_atomic(folder / "metrics.csv", text.getvalue().encode())
