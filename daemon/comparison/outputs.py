"""The files of a comparison: sheets, report, cells, manifest, table, and last `summary.json`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from daemon import files
from daemon.comparison.findings import Findings, note
from daemon.comparison.folder import write_metrics, write_sheets, write_summary
from daemon.comparison.grid import Column, Row, draw_sheets
from daemon.comparison.report.markdown import render_markdown
from daemon.comparison.report.page import render_page
from daemon.comparison.report.settings import settings
from daemon.manifest import MANIFEST_FILE, write_manifest
from daemon.protocol.codec import pretty_json
from daemon.protocol.diagnosis import Diagnosis
from daemon.protocol.effects import Claim, Effect
from daemon.protocol.specs import ImageRecord, ImageRequest

DIAGNOSIS_FILE = "diagnosis.json"


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`summary.json`, written last: where it stands, the comparison is finished."""

    name: str
    verdict: str
    num_blocks: int
    num_prompts: int
    num_pictures: int
    means: dict[str, dict[str, float]]
    effects: tuple[Effect, ...]
    sheet_paths: tuple[str, ...]
    inputs_sha256: str
    claims: tuple[Claim, ...] = ()
    diagnosis_paths: tuple[str, ...] = ()
    """`diagnosis.json` and its maps, where blocks were diagnosed."""

    @property
    def file_names(self) -> tuple[str, ...]:
        """The other files that make it whole."""
        return ("report.html", "report.md", "metrics.csv", "cells.json", MANIFEST_FILE, *self.sheet_paths, *self.diagnosis_paths)


class CellLine(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of `cells.json`: which picture, by what request, and what was measured in it."""

    block: int
    prompt: str
    seed: int
    arm: str
    image: str
    path: str
    """Relative to the session folder."""
    sha256: str
    request: ImageRequest
    values: dict[str, float]


def write_outputs(
    findings: Findings, records: Sequence[ImageRecord], folder: Path, inputs_sha256: str, check: Callable[[], None]
) -> Summary:
    """Write all files to `folder`; `check` is called between the slow ones and may raise to stop."""
    images_path = folder.parent / "images"
    sheets = _write_sheets(findings, folder, images_path, check)
    files.write_atomic(folder / "report.html", render_page(findings, images_path).encode())
    files.write_atomic(folder / "report.md", render_markdown(findings, sheets).encode())
    files.write_atomic(folder / "cells.json", _cells_json(findings, records))
    # What is read beside the summary comes late: until then the comparison before stays readable.
    write_manifest(folder / MANIFEST_FILE, list(records))
    write_metrics(folder, "arm", findings.blocks, findings.arms, findings.picture_ids, findings.values)
    summary = Summary(
        name=findings.job.comparison.output_name,
        verdict=findings.verdict,
        num_blocks=len(findings.blocks),
        num_prompts=len({block.prompt for block in findings.blocks}),
        num_pictures=len(records),
        means={name: dict(own) for name, own in findings.means.items()},
        effects=findings.effects,
        sheet_paths=tuple(sheets),
        inputs_sha256=inputs_sha256,
        claims=findings.claims,
        diagnosis_paths=_write_diagnosis(findings.diagnosis, folder),
    )
    write_summary(folder, summary)
    return summary


def _write_diagnosis(diagnosis: Diagnosis | None, folder: Path) -> tuple[str, ...]:
    """`diagnosis.json`; returns its name and those of its maps. That of a comparison before is removed where there is none."""
    if diagnosis is None:
        (folder / DIAGNOSIS_FILE).unlink(missing_ok=True)
        return ()
    files.write_atomic(folder / DIAGNOSIS_FILE, pretty_json(diagnosis))
    return (DIAGNOSIS_FILE, *(one.path for one in diagnosis.maps))


def _write_sheets(findings: Findings, folder: Path, images_path: Path, check: Callable[[], None]) -> list[str]:
    """Returns their names."""
    rows = [
        Row(
            caption=f"{block.prompt} (seed {block.seed})",
            picture_paths=tuple(images_path / f"{findings.picture_ids[block.index, arm.name]}.png" for arm in findings.arms),
            notes=tuple(note(findings.values[block.index, arm.name]) for arm in findings.arms),
        )
        for block in findings.blocks
    ]
    heading = f"{findings.job.session}: {findings.job.comparison.output_name}"
    columns = [Column(arm.name, arm.title) for arm in findings.arms]
    comment = "\n".join(f"{name}: {value}" for name, value in settings(findings))
    return write_sheets(draw_sheets(heading, columns, rows, comment), folder, check)


def _cells_json(findings: Findings, records: Sequence[ImageRecord]) -> bytes:
    """A list of `CellLine`, a line each, in the order of the manifest."""
    places = ((block, arm) for block in findings.blocks for arm in findings.arms)
    lines = [
        CellLine(
            block=block.index,
            prompt=block.prompt,
            seed=block.seed,
            arm=arm.name,
            image=record.id,
            path=record.path,
            sha256=record.sha256,
            request=record.request,
            values=findings.values[block.index, arm.name],
        )
        for (block, arm), record in zip(places, records, strict=True)
    ]
    return b"[\n" + b",\n".join(msgspec.json.encode(line) for line in lines) + b"\n]\n"
