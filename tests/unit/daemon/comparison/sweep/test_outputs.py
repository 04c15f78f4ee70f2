from pathlib import Path

import msgspec
import pytest
from comparing import prepare
from counting import CountingScorer
from painting import Desk
from PIL import Image
from sweeping import sweep_of

from daemon.comparison.folder import read_summary
from daemon.comparison.sweep.outputs import Summary
from daemon.comparison.sweep.recipe import sweep
from tests.fake_sweep import BrightEngine


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    CountingScorer().install(monkeypatch)
    list(sweep(sweep_of(8, first_look=100), Desk(prepare(tmp_path), engine=BrightEngine()).context))
    return tmp_path / "sweeps" / "default"


def test_the_sheet_is_a_grid_of_the_axes(folder: Path) -> None:
    with Image.open(folder / "sheet.png") as sheet:
        text = str(getattr(sheet, "text", {}))
        assert sheet.width > 3 * 128, "three weights across"
    for words in ("weight 0.5", "weight 4", "guidance_window 0 to 0.8"):
        assert words in text


def test_the_table_as_csv_has_a_row_a_cell(folder: Path) -> None:
    lines = (folder / "table.csv").read_text().splitlines()
    assert lines[0].startswith("cell,weight,guidance_window,num_blocks,flaw_probability,adherence,")
    assert len(lines) == 7


def test_only_a_whole_sweep_of_the_same_inputs_counts(folder: Path) -> None:
    summary = msgspec.json.decode((folder / "summary.json").read_bytes(), type=Summary)
    assert read_summary(folder, Summary, summary.inputs_sha256) == summary
    assert read_summary(folder, Summary, "other") is None
    (folder / "table.md").unlink()
    assert read_summary(folder, Summary, summary.inputs_sha256) is None
