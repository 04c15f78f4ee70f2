"""The files of a comparison, and when they count as finished."""

import csv
from pathlib import Path

import msgspec
import pytest
from comparing import job, prepare
from counting import CountingScorer
from painting import Desk

from daemon.comparison import outputs
from daemon.comparison.folder import read_summary
from daemon.comparison.outputs import CellLine, Summary
from daemon.comparison.recipe import compare
from daemon.manifest import read_manifest
from negtui.picture_text import told_by

FILES = {"cells.json", "manifest.jsonl", "metrics.csv", "report.html", "report.md", "sheet.png", "summary.json"}


@pytest.fixture(autouse=True)
def scorer(monkeypatch: pytest.MonkeyPatch) -> CountingScorer:
    return CountingScorer().install(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    list(compare(job(), Desk(prepare(tmp_path)).context))
    return tmp_path / "comparisons/default"


def summary_of(folder: Path) -> Summary:
    return msgspec.json.decode((folder / "summary.json").read_bytes(), type=Summary)


def test_all_files_are_there(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES


def test_the_table_holds_every_cell(folder: Path) -> None:
    with (folder / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    records = read_manifest(folder / "manifest.jsonl")
    assert [(row["block"], row["arm"]) for row in table] == [
        (str(block), arm) for block in range(4) for arm in ("baseline", "placebo", "target")
    ]
    assert [row["image"] for row in table] == [record.id for record in records]
    assert [row["arm"] for row in table] == [record.arm for record in records]
    assert {row["adherence"] for row in table if row["prompt"].startswith("star")} == {"1.0"}
    summary = summary_of(folder)
    mine = [float(row["flaw_probability"]) for row in table if row["arm"] == "target"]
    assert summary.means["target"]["flaw_probability"] == pytest.approx(sum(mine) / 4)
    assert (summary.num_blocks, summary.num_prompts, summary.num_pictures) == (4, 4, 12)


def test_every_cell_is_told_whole_as_json(folder: Path) -> None:
    cells = msgspec.json.decode((folder / "cells.json").read_bytes(), type=list[CellLine])
    records = read_manifest(folder / "manifest.jsonl")
    assert [(cell.arm, cell.image, cell.path, cell.sha256, cell.request) for cell in cells] == [
        (record.arm, record.id, record.path, record.sha256, record.request) for record in records
    ]
    with (folder / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [cell.values["flaw_probability"] for cell in cells] == [float(row["flaw_probability"]) for row in table]


def test_a_sheet_says_in_its_file_what_is_written_on_it(folder: Path) -> None:
    with (folder / "sheet.png").open("rb") as file:
        said = told_by(file)
    assert said["Title"] == "mine: default"
    assert 'target: LoRA wrong, negative "wrong"' in said["Description"].splitlines()
    assert "star number 1 (seed 1)" in said["Description"].splitlines()
    assert "base sha256: " + "ba5e" * 16 in said["Comment"].splitlines()


def test_a_comparison_is_finished_while_its_files_are_there(folder: Path) -> None:
    summary = summary_of(folder)
    assert read_summary(folder, Summary, summary.inputs_sha256) == summary
    assert read_summary(folder, Summary, "of other inputs") is None
    (folder / "sheet.png").unlink()
    assert read_summary(folder, Summary, summary.inputs_sha256) is None


def test_the_one_before_is_read_as_it_was_until_the_new_one_is_drawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = ("manifest.jsonl", "metrics.csv", "summary.json")
    before = [(folder / name).read_bytes() for name in read]

    def killed(*arguments: object) -> list[str]:
        raise RuntimeError("killed")

    monkeypatch.setattr(outputs, "render_page", killed)
    with pytest.raises(RuntimeError, match="killed"):
        list(compare(job(num_prompts=2), Desk(folder.parent.parent).context))
    assert [(folder / name).read_bytes() for name in read] == before


def test_sheets_of_a_longer_comparison_are_removed(tmp_path: Path) -> None:
    prepare(tmp_path)
    folder = tmp_path / "comparisons/default"
    list(compare(job(17), Desk(tmp_path).context))
    assert {path.name for path in folder.glob("sheet*")} == {"sheet.png", "sheet-2.png"}
    list(compare(job(4), Desk(tmp_path).context))
    assert {path.name for path in folder.iterdir()} == FILES
